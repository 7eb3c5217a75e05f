"""Scenes and scores as pictures for people."""
