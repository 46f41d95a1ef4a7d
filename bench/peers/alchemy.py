"""SQLAlchemy with asyncpg. Speaks with its parent as a child process of Node does: by lines of JSON, over one socket."""

import asyncio
import datetime
import json
import os
import resource
import socket
import sys
import time

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    age: Mapped[int | None]
    created_at: Mapped[datetime.datetime | None] = mapped_column(server_default=func.now())
    posts: Mapped[list["Post"]] = relationship(back_populates="author")


class Post(Base):
    __tablename__ = "posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    body: Mapped[str | None]
    views: Mapped[int]
    author: Mapped[User] = relationship(back_populates="posts")


def new_user(i):
    return User(name=f"User {i}", email=f"user{i}@example.org", age=18 + i % 60)


def is_user(user, i):
    return (user.id, user.name, user.email, user.age) == (i, f"User {i}", f"user{i}@example.org", 18 + i % 60)


def is_post(post, i, author_id):
    return (post.id, post.author_id, post.title, post.body, post.views) == (
        i,
        author_id,
        f"Post {i}",
        f"The text of post {i}",
        i % 1000,
    )


def check(holds, problem):
    if not holds:
        raise ValueError(problem)


class Watch:
    def start(self):
        self.cpu = time.process_time()
        self.began = time.perf_counter()

    def stop(self):
        self.ms = (time.perf_counter() - self.began) * 1000
        self.cpu = (time.process_time() - self.cpu) * 1000


in_order = select(User).order_by(User.id)


async def unit_of_work(sessions, watch, count, token, connections):
    authors = max(1, count // 10)
    watch.start()
    async with sessions() as session:
        users = [new_user(i) for i in range(1, count + 1)]
        session.add_all(users)
        session.add_all(
            Post(title=f"Post {i}", body=f"The text of post {i}", views=i % 1000, author=users[(i - 1) % authors])
            for i in range(1, count + 1)
        )
        await session.commit()
    watch.stop()


async def load_users(sessions, watch, count, token, connections):
    async with sessions() as session:
        watch.start()
        users = (await session.scalars(in_order)).all()
        watch.stop()
    check(len(users) == count and all(is_user(user, i + 1) for i, user in enumerate(users)), "the users are wrong")


async def load_posts(sessions, watch, count, token, connections):
    async with sessions() as session:
        watch.start()
        users = (await session.scalars(in_order.options(selectinload(User.posts)))).all()
        watch.stop()
    for user in users:
        posts = sorted(user.posts, key=lambda post: post.id)
        right = all(is_post(post, (user.id - 1) * 10 + i + 1, user.id) for i, post in enumerate(posts))
        check(right and len(posts) == 10, f"the posts of user {user.id} are wrong")
    check(len(users) == count, "users are missing")


async def point_reads(sessions, watch, count, token, connections):
    users = []
    watch.start()
    for i in range(count):
        async with sessions() as session:
            users.append(await session.get(User, i * 7919 % (count * 2) + 1))
    watch.stop()
    check(all(is_user(user, i * 7919 % (count * 2) + 1) for i, user in enumerate(users)), "the users are wrong")


async def updates(sessions, watch, count, token, connections):
    async with sessions() as session:
        users = (await session.scalars(in_order)).all()
        watch.start()
        for user in users:
            user.name = f"User {user.id}, renamed {token}"
        await session.commit()
        watch.stop()


async def transactions(sessions, watch, count, token, connections):
    ids = iter(range(1, count + 1))

    async def lane():
        for id in ids:
            async with sessions.begin() as session:
                user = await session.get(User, id)
                user.age += 1

    watch.start()
    await asyncio.gather(*(lane() for _ in range(connections)))
    watch.stop()


async def hits(sessions, watch, count, token, connections):
    async with sessions() as session:
        users = (await session.scalars(in_order)).all()
        found = 0
        watch.start()
        for i in range(count):
            if await session.get(User, i % len(users) + 1) is not None:
                found += 1
        watch.stop()
    check(found == count, f"{found} hits")


async def stream(sessions, watch, count, token, connections):
    seen = ids = 0
    last = None
    async with sessions() as session:
        watch.start()
        async for user in await session.stream_scalars(in_order.execution_options(yield_per=5000)):
            seen += 1
            ids += user.id
            last = user
        watch.stop()
    check(seen == count and ids == count * (count + 1) // 2 and is_user(last, count), f"{seen} rows")


workloads = {
    "W1": unit_of_work,
    "W2": load_users,
    "W3": load_posts,
    "W4": point_reads,
    "W5": updates,
    "W6": transactions,
    "W6c": transactions,
    "W7": hits,
    "W8": stream,
}


async def answer(sessions, request, connections):
    run = workloads.get(request["workload"])
    if run is None:
        return {"_tag": "Missing"}
    watch = Watch()
    try:
        await run(sessions, watch, request["count"], request["token"], connections)
    except ValueError as error:
        return {"_tag": "Wrong", "problem": str(error)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"_tag": "Done", "ms": watch.ms, "cpu": watch.cpu, "peakRss": peak, "heap": 0}


def main(url, connections):
    parent = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
    parent.setblocking(True)

    def send(message):
        parent.sendall(json.dumps(message).encode() + b"\n")

    address = url.replace("postgres://", "postgresql+asyncpg://", 1)
    with asyncio.Runner() as runner:
        engine = create_async_engine(address, pool_size=connections, max_overflow=0)
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        send({"_tag": "Ready"})
        for line in parent.makefile("r"):
            send(runner.run(answer(sessions, json.loads(line), connections)))


main(sys.argv[1], int(sys.argv[2]))
