"""The search for settings: optuna tries them, validation judges, one file keeps what was found."""
