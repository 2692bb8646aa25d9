"""The shipped recipes, one TOML file each."""
