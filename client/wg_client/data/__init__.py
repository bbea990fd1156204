"""The plant's records: finding, strict reading, inspection, and the acceptance set."""
