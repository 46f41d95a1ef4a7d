/** Deletes among rows of several tables that lead to each other in a circle. */
import { assert, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"

/** Goes with none, but may lose its capital. */
class Country extends Entity.Class<Country>("Country")({
  id: Model.GeneratedByDb(Schema.Int),
  capitalId: Model.FieldOption(Schema.Int)
}, { table: "countries", primaryKey: "id" }) {
  static readonly capital = Relation.manyToOne<Country, City>(() => City, { foreignKey: "capitalId", optional: true })
  static readonly cities = Relation.oneToMany<Country, City>(() => City, { foreignKey: "countryId", cascade: "delete" })
}

class City extends Entity.Class<City>("City")({
  id: Model.GeneratedByDb(Schema.Int),
  countryId: Schema.Int,
  mayorId: Schema.NullOr(Schema.Int)
}, { table: "cities", primaryKey: "id" }) {
  static readonly ruled = Relation.oneToMany<City, Country>(() => Country, { foreignKey: "capitalId" })
  static readonly people = Relation.oneToMany<City, Person>(() => Person, { foreignKey: "cityId", cascade: "delete" })
  static readonly mayor = Relation.manyToOne<City, Person>(() => Person, { foreignKey: "mayorId", optional: true })
}

/** Takes with it the city of which it is the mayor, and that its people. */
class Person extends Entity.Class<Person>("Person")({
  id: Model.GeneratedByDb(Schema.Int),
  cityId: Schema.Int
}, { table: "people", primaryKey: "id" }) {
  static readonly governed = Relation.oneToMany<Person, City>(() => City, { foreignKey: "mayorId", cascade: "delete" })
}

const World = Registry.make({ entities: [Country, City, Person], naming: "snakeCase" })

const tables = `
CREATE TABLE countries (id serial PRIMARY KEY, capital_id int);
CREATE TABLE cities (id serial PRIMARY KEY, country_id int NOT NULL REFERENCES countries, mayor_id int);
CREATE TABLE people (id serial PRIMARY KEY, city_id int NOT NULL REFERENCES cities);
ALTER TABLE countries ADD FOREIGN KEY (capital_id) REFERENCES cities DEFERRABLE;
ALTER TABLE cities ADD FOREIGN KEY (mayor_id) REFERENCES people DEFERRABLE;
`

/** Writes rows that lead to each other, and keys that lead back. */
const withWorld = <A, E, R>(
  test: Parameters<typeof withRows<A, E, R>>[1]
) =>
  withRows(
    {
      countries: "(1), (2)",
      cities: "(10, 1), (11, 1), (12, 2)",
      people: "(20, 10), (21, 11), (22, 12), (23, 10)"
    },
    (session) =>
      Effect.gen(function*() {
        const [one, two] = [yield* session.getOne(Country, 1), yield* session.getOne(Country, 2)]
        const [ten, twelve] = [yield* session.getOne(City, 10), yield* session.getOne(City, 12)]
        const mayor = yield* session.getOne(Person, 20)
        yield* session.link(one, Country.capital, ten)
        yield* session.link(two, Country.capital, twelve)
        yield* session.link(ten, City.mayor, mayor)
        yield* session.commit
        yield* session.reset
        return yield* test(session)
      })
  )

layer(makers(World, embedded(tables)))("a circle of tables", (it) => {
  it.effect("goes where its cascades lead, keys that lead back are emptied first", () =>
    withWorld(Effect.fnUntraced(function*(session) {
      yield* session.delete(yield* session.getOne(Country, 1))
      const sent = yield* log(session.flush)
      assert.deepStrictEqual(sent.filter((line) => !line.startsWith("SELECT")), [
        // The city that nobody leads back to, with its people, then the one in the circle.
        "DELETE people",
        "DELETE cities",
        "UPDATE countries",
        "UPDATE cities",
        "DELETE people",
        "DELETE cities",
        "DELETE countries"
      ])
      assert.deepStrictEqual(yield* rowsOf(session, "countries"), ["(2,12)"])
      assert.deepStrictEqual(yield* rowsOf(session, "cities"), ["(12,2,)"])
      assert.deepStrictEqual(yield* rowsOf(session, "people"), ["(22,12)"])
    })))

  it.effect("is entered anywhere: a mayor takes the city and its people, and a country loses its capital", () =>
    withWorld(Effect.fnUntraced(function*(session) {
      const country = yield* session.getOne(Country, 1)
      yield* session.delete(yield* session.getOne(Person, 20))
      yield* session.flush
      assert.isTrue(Option.isNone((yield* session.current(country)).capitalId))
      assert.deepStrictEqual(yield* rowsOf(session, "countries"), ["(1,)", "(2,12)"])
      assert.deepStrictEqual(yield* rowsOf(session, "cities"), ["(11,1,)", "(12,2,)"])
      assert.deepStrictEqual(yield* rowsOf(session, "people"), ["(21,11)", "(22,12)"])
    })))

  it.effect("of pending rows goes too, and none of them is written", () =>
    withWorld(Effect.fnUntraced(function*(session) {
      const country = yield* session.getOne(Country, 2)
      const city = yield* session.add(City, { countryId: country.id, mayorId: null })
      const mayor = yield* session.add(Person, { cityId: city })
      yield* session.link(city, City.mayor, mayor)
      yield* session.link(country, Country.capital, city)
      yield* session.delete(country)
      const sent = yield* log(session.flush)
      assert.deepStrictEqual(sent.filter((line) => line.startsWith("MERGE")), [])
      assert.deepStrictEqual(yield* rowsOf(session, "countries"), ["(1,10)"])
      assert.lengthOf(yield* rowsOf(session, "cities"), 2)
    })))
})
