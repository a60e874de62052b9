"""The generic resource machinery: one `Resource` declaration gives the routes, SQL, validation and OPTIONS of a noun.

source       one use of a model's tables in a statement
fields       what a resource consists of: how a field is read, checked, filtered and described
permissions  who may: SQL conditions on rows
resource     the declaration itself, its sub-lists and actions, and `Api`, where resources find each other
filters      query string -> WHERE and ORDER BY
reader       one statement -> rows -> JSON
writer       a body -> checked values -> a row
options      OPTIONS from the declaration
views        the handlers, and the routes they answer on
named_urls   `name++organization` in place of an id
"""
