/** What the programs of the fault harness work on: orders with their lines and labels, and accounts. */
import { Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"

export class Customer extends Entity.Class<Customer>("Customer")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String
}, { table: "customers", primaryKey: "id" }) {
  static readonly orders = Relation.oneToMany<Customer, Order>(() => Order, {
    foreignKey: "customerId",
    cascade: "delete",
    orderBy: "id"
  })
}

export class Order extends Entity.Class<Order>("Order")({
  id: Model.GeneratedByDb(Schema.Int),
  customerId: Schema.Int,
  note: Schema.String,
  version: Entity.Version
}, { table: "orders", primaryKey: "id" }) {
  static readonly customer = Relation.manyToOne<Order, Customer>(() => Customer, { foreignKey: "customerId" })
  static readonly lines = Relation.oneToMany<Order, Line>(() => Line, {
    foreignKey: "orderId",
    cascade: "delete-orphan",
    orderBy: "id"
  })
  static readonly labels = Relation.manyToMany<Order, Label>(() => Label, {
    through: "order_labels",
    sourceKey: "order_id",
    targetKey: "label_id",
    orderBy: "id"
  })
}

export class Line extends Entity.Class<Line>("Line")({
  id: Model.GeneratedByDb(Schema.Int),
  orderId: Schema.Int,
  product: Schema.String,
  amount: Schema.Int
}, { table: "lines", primaryKey: "id" }) {}

export class Label extends Entity.Class<Label>("Label")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String
}, { table: "labels", primaryKey: "id", unique: ["name"] }) {}

export class Account extends Entity.Class<Account>("Account")({
  id: Schema.Int,
  balance: Schema.Int,
  version: Entity.Version
}, { table: "accounts", primaryKey: "id" }) {}

const entities = [Customer, Order, Line, Label, Account] as const

/** A new one each time: a maker with it has to learn the columns from the catalog again. */
export const makeRegistry = (): Registry.Registry => Registry.make({ entities, naming: "snakeCase" })

/** The tables, empty. `refill` puts the rows that every run begins with, and gives the same generated keys each time. */
export const schema: ReadonlyArray<string> = [
  "CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL)",
  `CREATE TABLE orders (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, note text NOT NULL,
    version int NOT NULL)`,
  `CREATE TABLE lines (id serial PRIMARY KEY, order_id int NOT NULL REFERENCES orders, product text NOT NULL,
    amount int NOT NULL)`,
  "CREATE TABLE labels (id serial PRIMARY KEY, name text NOT NULL UNIQUE)",
  `CREATE TABLE order_labels (order_id int NOT NULL REFERENCES orders, label_id int NOT NULL REFERENCES labels,
    PRIMARY KEY (order_id, label_id))`,
  "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0), version int NOT NULL)",
  "CREATE TABLE entries (id serial PRIMARY KEY, account_id int NOT NULL REFERENCES accounts, amount int NOT NULL)",
  // Such an entry lets its COMMIT take a while.
  `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$`,
  `CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.amount = 777) EXECUTE FUNCTION linger()`,
  `CREATE FUNCTION refill() RETURNS void LANGUAGE sql BEGIN ATOMIC
    DELETE FROM order_labels; DELETE FROM lines; DELETE FROM orders; DELETE FROM labels; DELETE FROM customers;
    DELETE FROM entries; DELETE FROM accounts;
    INSERT INTO customers VALUES (1, 'Ada'), (2, 'Bob'), (3, 'Cy');
    INSERT INTO orders VALUES (1, 1, 'a', 1), (2, 1, 'b', 1), (3, 2, 'c', 1), (4, 3, 'd', 1);
    INSERT INTO lines SELECT id, 1 + id % 4, 'p' || id, id FROM generate_series(1, 10) AS ids (id);
    INSERT INTO labels VALUES (1, 'big'), (2, 'gift'), (3, 'late');
    INSERT INTO order_labels VALUES (1, 1), (1, 2), (2, 2), (3, 1), (4, 3);
    INSERT INTO accounts VALUES (1, 100, 1), (2, 50, 1);
    SELECT setval('customers_id_seq', 100), setval('orders_id_seq', 100), setval('lines_id_seq', 100),
      setval('labels_id_seq', 100), setval('entries_id_seq', 100);
  END`
]

/** The entities, by the names of their tables. */
export const entityOf = { customers: Customer, orders: Order, lines: Line, labels: Label, accounts: Account }

/** All that is in the database, by table, as the session has it. */
export const everything = `SELECT json_build_object(
  'customers', (SELECT json_agg(json_build_object('id', id, 'name', name) ORDER BY id) FROM customers),
  'orders', (SELECT json_agg(json_build_object('id', id, 'customerId', customer_id, 'note', note, 'version', version)
    ORDER BY id) FROM orders),
  'lines', (SELECT json_agg(json_build_object('id', id, 'orderId', order_id, 'product', product, 'amount', amount)
    ORDER BY id) FROM lines),
  'labels', (SELECT json_agg(json_build_object('id', id, 'name', name) ORDER BY id) FROM labels),
  'accounts', (SELECT json_agg(json_build_object('id', id, 'balance', balance, 'version', version) ORDER BY id)
    FROM accounts),
  'orderLabels', (SELECT json_agg(json_build_array(order_id, label_id) ORDER BY order_id, label_id) FROM order_labels),
  'entries', (SELECT json_agg(json_build_array(account_id, amount) ORDER BY account_id, amount) FROM entries)
) AS tables`

type Row = Readonly<Record<string, string | number>> & { readonly id: number }

/** What `everything` reads. A table without rows is null. */
export interface Tables extends Readonly<Record<keyof typeof entityOf, ReadonlyArray<Row> | null>> {
  readonly orderLabels: ReadonlyArray<readonly [number, number]> | null
  readonly entries: ReadonlyArray<readonly [number, number]> | null
}
