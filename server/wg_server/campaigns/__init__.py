"""Campaigns: collection of statistics, and making and delivery of weights packages."""
