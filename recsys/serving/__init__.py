"""ONE ARTEFACT: a run as one folder that serves, over HTTP, in MLflow and in Spark."""
