"""One file per question; each is a function from an Optuna trial to a config."""
