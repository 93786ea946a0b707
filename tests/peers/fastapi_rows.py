"""Rows the Python way: FastAPI and uvicorn, with what `PEER_ROWS_MODEL` names, fitted on `PEER_MODEL`/rows.csv.

`logistic` is scikit-learn's pipeline on a data frame, as its guide has it. `logistic-arrays` is the same model with the
preparation written out, without data frames, and `xgboost` is that way, too, with its predictor that copies nothing.
"""
import os
import pathlib

import numpy
import pandas
from fastapi import FastAPI
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TEXTS = ["gender", "work_type", "residence_type", "smoking_status"]
NUMBERS = ["age", "hypertension", "heart_disease", "ever_married", "avg_glucose_level", "bmi"]

table = pandas.read_csv(pathlib.Path(os.environ["PEER_MODEL"]) / "rows.csv", dtype={name: str for name in TEXTS})
table[NUMBERS] = table[NUMBERS].astype(float)
target = table.pop("stroke")
levels = {name: {level: code for code, level in enumerate(sorted(table[name].unique()))} for name in TEXTS}


def scikit_learn():
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    prepared = make_column_transformer((numbers, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), TEXTS))
    return make_pipeline(prepared, LogisticRegression(max_iter=1_000)).fit(table, target)


def of_frames():
    model = scikit_learn()
    return lambda rows: model.predict_proba(pandas.DataFrame(rows))[:, 1]


def of_arrays():
    fitted = scikit_learn()
    numbers = fitted[0].named_transformers_["pipeline"]
    medians, means, scales = numbers[0].statistics_, numbers[1].mean_, numbers[1].scale_
    model, width = fitted[-1], len(NUMBERS) + sum(map(len, levels.values()))
    places, at = {}, len(NUMBERS)
    for name in TEXTS:
        places[name] = {level: at + code for level, code in levels[name].items()}
        at += len(levels[name])

    def answer(rows):
        values = numpy.zeros((len(rows), width))
        for row, out in zip(rows, values):
            given = numpy.array([row[name] for name in NUMBERS], dtype=float)
            out[: len(NUMBERS)] = (numpy.where(numpy.isnan(given), medians, given) - means) / scales
            for name in TEXTS:
                place = places[name].get(row[name])
                if place is not None:
                    out[place] = 1
        return model.predict_proba(values)[:, 1]

    return answer


def boosted():
    import xgboost

    def array(rows):
        def one(row):
            return [row[name] for name in NUMBERS] + [levels[name].get(row[name]) for name in TEXTS]

        return numpy.array([one(row) for row in rows], dtype=float)

    model = xgboost.XGBClassifier(n_estimators=100, max_depth=3, learning_rate=0.05, n_jobs=1)
    booster = model.fit(array(table.to_dict("records")), target).get_booster()
    return lambda rows: booster.inplace_predict(array(rows))


predict = {"logistic": of_frames, "logistic-arrays": of_arrays, "xgboost": boosted}[os.environ["PEER_ROWS_MODEL"]]()
app = FastAPI()


@app.post("/predict")
async def predict_rows(body: dict):
    return {"rows": [{"probability": float(answer)} for answer in predict(body["rows"])]}
