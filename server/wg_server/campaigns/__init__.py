"""Campaigns: statistics are collected, packages are made and delivered."""
