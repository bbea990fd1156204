"""Homes that released versions left behind, and the script that makes those of today's."""
