"""Makes the models in this folder that scikit-learn trained and skl2onnx exported, for the import's tests.

    pip install skl2onnx
    python -m tests.models.make_sklearn_models

Two-layer networks on the 8 x 8 digits, input grey level / 16, 70 % of the weights pruned to 0. Made with scikit-learn
1.9 and skl2onnx 1.20; the .onnx files are committed because skl2onnx is not needed to run the tests.
"""

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepr_hw import data

FOLDER = Path(__file__).parent
SPARSITY, EPOCHS = 0.7, 200


def prune(model, sparsity: float) -> None:
    for weight in model.coefs_:
        size = np.abs(weight)
        weight *= size > np.sort(size, axis=None)[int(sparsity * size.size) - 1]


def fit(model, x: np.ndarray, y: np.ndarray):
    """``model`` trained and pruned a little more after each epoch."""
    classes = {"classes": np.unique(y)} if isinstance(model, MLPClassifier) else {}
    for epoch in range(EPOCHS):
        model.partial_fit(x, y, **classes)
        if epoch >= 10:
            prune(model, SPARSITY * min(1.0, 2 * epoch / EPOCHS))
    return model


def main() -> None:
    digits = data.load_digits()
    x, y = (np.float32(digits.x_train) / 16, digits.y_train)
    classifier = {"hidden_layer_sizes": (32,), "learning_rate_init": 0.01, "random_state": 0}
    model = fit(MLPClassifier(**classifier), x, y)
    print(f"test accuracy {100 * model.score(np.float32(digits.x_test) / 16, digits.y_test):.1f} %")
    made = {
        "digits_zipmap": to_onnx(model, x[:1]),
        "digits": to_onnx(model, x[:1], options={"zipmap": False}),
        "two_classes": to_onnx(fit(MLPClassifier(**classifier), x, np.where(y > 4, "large", "small")), x[:1]),
        "regressor": to_onnx(fit(MLPRegressor(**classifier), x, y.astype(float)), x[:1].astype(float)),
    }
    scaler = StandardScaler().fit(x)
    model = fit(MLPClassifier(**classifier), scaler.transform(x), np.array(digits.class_labels)[y])
    made["standardized"] = to_onnx(make_pipeline(scaler, model), x[:1])
    for name, proto in made.items():
        (FOLDER / f"sklearn_{name}.onnx").write_bytes(proto.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
