/** The graph of a lockfile as entities: packages, their versions, and the dependencies between versions. */
import { Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"

export const PackageId = Schema.Int.pipe(Schema.brand("PackageId"))
export const VersionId = Schema.Int.pipe(Schema.brand("VersionId"))
const DependencyId = Schema.Int.pipe(Schema.brand("DependencyId"))

/** Why one version wants another. */
export const Kind = Schema.Literals(["prod", "dev", "optional", "peer"])
export type Kind = typeof Kind.Type

export class Package extends Entity.Class<Package>("Package")({
  id: Model.GeneratedByDb(PackageId),
  name: Schema.String
}, { table: "npm_packages", primaryKey: "id", unique: ["name"] }) {}

export class Version extends Entity.Class<Version>("Version")({
  id: Model.GeneratedByDb(VersionId),
  packageId: PackageId,
  version: Schema.String,
  license: Schema.NullOr(Schema.String)
}, { table: "npm_versions", primaryKey: "id", unique: [["packageId", "version"]] }) {
  static readonly package = Relation.manyToOne<Version, Package>(() => Package, { foreignKey: "packageId" })
  /** What it wants of others. */
  static readonly dependencies = Relation.oneToMany<Version, Dependency>(() => Dependency, { foreignKey: "fromId" })
}

export class Dependency extends Entity.Class<Dependency>("Dependency")({
  id: Model.GeneratedByDb(DependencyId),
  fromId: VersionId,
  toId: VersionId,
  range: Schema.String,
  kind: Kind
}, { table: "npm_dependencies", primaryKey: "id", unique: [["fromId", "toId", "range", "kind"]] }) {
  static readonly from = Relation.manyToOne<Dependency, Version>(() => Version, { foreignKey: "fromId" })
  static readonly to = Relation.manyToOne<Dependency, Version>(() => Version, { foreignKey: "toId" })
}

export const Lockfiles = Registry.make({ entities: [Package, Version, Dependency], naming: "snakeCase" })
