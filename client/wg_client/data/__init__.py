"""The plant's records: found, read strictly, inspected, and fixed in a snapshot."""
