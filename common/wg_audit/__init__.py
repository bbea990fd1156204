"""The auditor: verifies offline and trusts nobody."""
