"""Rows beside peers: writes tables with folds, and what scikit-learn and xgboost say of them, for `rows_accuracy`; and
tables on which it tries a search for options.

Settings are those of the families' defaults, as far as the peers have them."""

import csv
import json
import math
import os
import pathlib
import time

import numpy
import sklearn
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_classification, make_friedman1
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED_DATA = pathlib.Path(os.environ.get("STEPPE_SHARED_DATA", ROOT.parent / "shared" / "data"))
FOLDER = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "accuracy" / "rows"
FOLDS, REPEATS, FITS = 5, 5, 3
BOOSTING = dict(n_estimators=100, max_depth=3, learning_rate=0.05, reg_lambda=1.0, min_child_weight=1.0)


def write(name, columns, target, folds):
    """A column per number, and one per drawing of folds; what is missing is empty."""
    with open(FOLDER / name, "w", newline="") as file:
        writer = csv.writer(file)
        numbers = [f"x{number}" for number in range(columns.shape[1])]
        writer.writerow([*numbers, "target", *(f"fold{number}" for number in range(len(folds)))])
        for row, values in enumerate(columns):
            shown = ["" if math.isnan(value) else repr(float(value)) for value in values]
            writer.writerow([*shown, repr(float(target[row])), *(fold[row] for fold in folds)])


def drawn(splitter, columns, target, repeats=REPEATS):
    """The fold of each row in each drawing."""
    folds = []
    for seed in range(repeats):
        fold_of = numpy.zeros(len(target), dtype=int)
        splits = splitter(n_splits=FOLDS, shuffle=True, random_state=seed).split(columns, target)
        for number, (_, asked) in enumerate(splits):
            fold_of[asked] = number
        folds.append(fold_of)
    return folds


def in_folds(model, columns, target, folds, measure):
    """Mean of a measure over all folds of all drawings."""
    values = []
    for fold_of in folds:
        for fold in range(FOLDS):
            known, asked = fold_of != fold, fold_of == fold
            fitted = model().fit(columns[known], target[known])
            values.append(measure(fitted, columns[asked], target[asked]))
    return float(numpy.mean(values))


def rmse(model, columns, target):
    return math.sqrt(numpy.mean((model.predict(columns) - target) ** 2))


def auc(model, columns, target):
    return roc_auc_score(target, model.predict_proba(columns)[:, 1])


def diabetes():
    columns, target = load_diabetes(return_X_y=True)
    folds = drawn(KFold, columns, target)
    write("diabetes.csv", columns, target, folds)
    models = {
        "linear": lambda: make_pipeline(StandardScaler(), Ridge(alpha=1.0)),
        "gradient-boosting": lambda: GradientBoostingRegressor(
            n_estimators=100, max_depth=3, learning_rate=0.05, subsample=0.8, max_features=0.8, random_state=1
        ),
        "random-forest": lambda: RandomForestRegressor(
            n_estimators=200, max_depth=32, min_samples_leaf=10, max_features=1 / 3, random_state=1
        ),
    }
    return {name: in_folds(model, columns, target, folds, rmse) for name, model in models.items()}


def stroke():
    with open(SHARED_DATA / "stroke" / "stroke.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    target = numpy.array([int(row["stroke"]) for row in rows])
    numbers = ["age", "avg_glucose_level", "bmi", "hypertension", "heart_disease"]
    words = ["gender", "ever_married", "work_type", "Residence_type", "smoking_status"]
    measured = numpy.array([[float(row[name]) if row[name] != "N/A" else math.nan for name in numbers] for row in rows])
    levels = {name: sorted({row[name] for row in rows}) for name in words}
    places = numpy.array([[levels[name].index(row[name]) for name in words] for row in rows], dtype=float)
    marks = [[float(row[name] == level) for name in words for level in levels[name]] for row in rows]
    known = numpy.where(numpy.isnan(measured), numpy.nanmedian(measured, axis=0), measured)
    sums = numpy.hstack([(known - known.mean(axis=0)) / known.std(axis=0), numpy.array(marks)])
    folds = drawn(StratifiedKFold, sums, target)
    write("stroke_sums.csv", sums, target, folds)
    trees = numpy.hstack([measured, places])
    write("stroke_trees.csv", trees, target, folds)
    regression = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12).fit(sums, target)
    boosted = lambda: xgboost.XGBClassifier(**BOOSTING, tree_method="exact")
    return {
        "coefficients": [*regression.coef_[0].tolist(), float(regression.intercept_[0])],
        "boosting": in_folds(boosted, trees, target, folds, auc),
    }


def large():
    """40,000 made-up rows, half of which are learnt from."""
    random = numpy.random.default_rng(1)
    columns = random.normal(size=(40_000, 20)).round(3)
    odds = columns[:, 0] + columns[:, 1] * columns[:, 2] - numpy.abs(columns[:, 3]) - 1
    target = (random.random(40_000) < 1 / (1 + numpy.exp(-odds))).astype(int)
    half = numpy.arange(40_000) % 2
    write("large.csv", columns, target, [half])
    seconds = {}
    for method in ["hist", "exact"]:
        taken = []
        for _ in range(FITS):
            start = time.perf_counter()
            model = xgboost.XGBClassifier(**BOOSTING, n_jobs=1, tree_method=method)
            model.fit(columns[half == 0], target[half == 0])
            taken.append(time.perf_counter() - start)
        seconds[method] = min(taken)
    return {"boosting": auc(model, columns[half == 1], target[half == 1]), **seconds}


def tuning():
    """Tables that a search for options is tried on: three that scikit-learn ships, and two made-up ones."""
    rare = make_classification(2_000, 12, n_informative=5, n_redundant=2, weights=[0.92], class_sep=0.7, random_state=1)
    classes = {"breast_cancer": load_breast_cancer(return_X_y=True), "wine": load_wine(return_X_y=True), "rare": rare}
    numbers = {
        "diabetes": load_diabetes(return_X_y=True),
        "friedman": make_friedman1(600, 10, noise=2.0, random_state=1),
    }
    for splitter, tables in [(StratifiedKFold, classes), (KFold, numbers)]:
        for name, (columns, target) in tables.items():
            write(f"tuning_{name}.csv", columns, target, drawn(splitter, columns, target, repeats=2))
    names = {kind: [f"tuning_{name}" for name in of] for kind, of in [("classes", classes), ("numbers", numbers)]}
    (FOLDER / "tuning.json").write_text(json.dumps(names))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    tuning()
    versions = f"scikit-learn {sklearn.__version__}, xgboost {xgboost.__version__}"
    peers = {"versions": versions, "diabetes": diabetes(), "stroke": stroke(), "large": large()}
    (FOLDER / "peers.json").write_text(json.dumps(peers))
