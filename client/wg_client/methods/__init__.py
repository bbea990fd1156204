"""The methods whose models a plant may keep, beside plain fits on its own records."""
