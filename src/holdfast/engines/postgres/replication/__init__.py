"""Replicas, and what this process knows of where they are."""
