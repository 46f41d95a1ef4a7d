/** What differences between a mapping and the database are about. */
export const kinds = [
  "table",
  "column",
  "type",
  "nullability",
  "default",
  "primaryKey",
  "unique",
  "foreignKey",
  "onDelete",
  "version"
] as const
