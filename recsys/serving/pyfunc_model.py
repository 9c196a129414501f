"""The bundle as MLflow sees it: a table of users or histories in, a table of lists out.

MLflow keeps this file itself ("models from code"), not a pickle of an object; where it is loaded,
recsys must be installed.
"""

from typing import Any

import pandas as pd
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModel
from mlflow.types.schema import Array, ColSpec, DataType, Schema

from recsys.serving.answers import answer_rows
from recsys.serving.bundle import Bundle

__all__ = ["ARTIFACT", "SIGNATURE", "RecsysModel", "example"]

ARTIFACT = "bundle"  # the name of the folder among the model's artifacts

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.string, "user_id", required=False),
            ColSpec(Array(DataType.string), "history", required=False),
            ColSpec(DataType.long, "k", required=False),
        ]
    ),
    outputs=Schema(
        [ColSpec(Array(DataType.string), "item_id"), ColSpec(Array(DataType.double), "score")]
    ),
)


class RecsysModel(PythonModel):  # type: ignore[misc]  # MLflow is not typed
    """Recommends to the rows of a table."""

    def load_context(self, context: Any) -> None:
        """Load the bundle that lies among the model's artifacts."""
        self.recommender = Bundle.load(context.artifacts[ARTIFACT]).recommender()

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer each row: columns ``item_id`` and ``score``, lists of at most k, best first."""
        del context, params
        return answer_rows(self.recommender, model_input)


def example(bundle: Bundle) -> pd.DataFrame:
    """A question that a bundle can answer: of somebody known, and of somebody new."""
    recommender = bundle.recommender()
    user, items = recommender.user_ids.values[0], recommender.item_ids.values[:2]
    rows = {"user_id": [str(user), None], "history": [None, list(map(str, items))], "k": [5, 5]}
    return pd.DataFrame(rows)


set_model(RecsysModel())
