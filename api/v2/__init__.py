"""The controller's API: one module per family of resources, each declaring its Resources and its few actions."""
