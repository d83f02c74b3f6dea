"""How anything is stored, for both engines, importing neither."""
