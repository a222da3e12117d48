"""The contracts as documents: JSON Schema a topic and AsyncAPI, derived from the Structs, committed and compared."""
