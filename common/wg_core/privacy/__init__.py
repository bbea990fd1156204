"""The privacy core: schema, mechanism, accounting."""
