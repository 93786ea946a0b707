"""Unusual rows beside peers: writes tables of standardised columns, and what scikit-learn says of them, for
`unusual_accuracy`: scores of an isolation forest, groups by k-means and DBSCAN, and the seconds that each took."""

import csv
import json
import os
import pathlib
import time

import numpy
import sklearn
from sklearn.cluster import DBSCAN, KMeans
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED_DATA = pathlib.Path(os.environ.get("STEPPE_SHARED_DATA", ROOT.parent / "shared" / "data"))
FOLDER = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "accuracy" / "unusual"
FITS, TREES, MIN_POINTS = 3, 1_000, 10


def standardised(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def groups():
    """20,000 made-up rows of 8 columns: five groups of different widths, and 2 % anywhere."""
    random = numpy.random.default_rng(1)
    centres = random.uniform(-10, 10, size=(5, 8))
    of = random.integers(5, size=20_000)
    columns = centres[of] + random.normal(size=(20_000, 8)) * numpy.array([0.5, 0.8, 1.0, 1.2, 1.5])[of][:, None]
    anywhere = random.random(20_000) < 0.02
    columns[anywhere] = random.uniform(-15, 15, size=(anywhere.sum(), 8))
    return standardised(columns)


def skewed():
    """5,000 made-up rows of 12 columns without groups: some skewed, some rounded, some mostly zero."""
    random = numpy.random.default_rng(2)
    columns = random.normal(size=(5_000, 12))
    columns[:, 3:6] = numpy.exp(columns[:, 3:6])
    columns[:, 6:9] = columns[:, 6:9].round()
    columns[:, 9:] = numpy.maximum(columns[:, 9:] - 1, 0)
    return standardised(columns)


def households():
    """Of each London household: mean and deviation of its days, share of days without use, and how much more a weekday
    has than a day of the weekend. Days of fewer than 48 half hours are not whole; of a month at least."""
    days = {}
    for path in sorted((SHARED_DATA / "energy").glob("block_*.csv")):
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                if row["energy_count"] == "48":
                    days.setdefault(row["LCLid"], []).append((row["day"], float(row["energy_sum"])))
    if not days:
        return None
    rows = []
    for known in days.values():
        use = numpy.array([value for _, value in known])
        weekend = numpy.is_busday(numpy.array([day for day, _ in known], dtype="datetime64[D]"), weekmask="0000011")
        if len(use) >= 30 and use[weekend].sum() > 0:
            rows.append([use.mean(), use.std(), (use == 0).mean(), use[~weekend].mean() / use[weekend].mean()])
    return standardised(numpy.array(rows))


def timed(what):
    """Its answer, and the seconds of the fastest of some times."""
    taken = []
    for _ in range(FITS):
        start = time.perf_counter()
        answer = what()
        taken.append(time.perf_counter() - start)
    return answer, min(taken)


def scores(columns, seed):
    forest = IsolationForest(n_estimators=TREES, n_jobs=-1, random_state=seed).fit(columns)
    return -forest.score_samples(columns)


def compared(name, columns, clusters):
    isolation, isolation_seconds = timed(lambda: scores(columns, 1))
    means, means_seconds = timed(lambda: KMeans(clusters, n_init=10, random_state=1).fit(columns))
    distances = NearestNeighbors(n_neighbors=MIN_POINTS).fit(columns).kneighbors(columns)[0][:, -1]
    eps = float(numpy.quantile(distances, 0.9))
    density, density_seconds = timed(lambda: DBSCAN(eps=eps, min_samples=MIN_POINTS, n_jobs=-1).fit(columns))
    with open(FOLDER / f"{name}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        numbers = [f"x{number}" for number in range(columns.shape[1])]
        writer.writerow([*numbers, "score", "score_of_other_seed", "label"])
        answers = zip(columns, isolation, scores(columns, 2), density.labels_)
        for values, score, other, label in answers:
            writer.writerow([*(repr(float(value)) for value in [*values, score, other]), label])
    return {
        "name": name,
        "isolation_seconds": isolation_seconds,
        "clusters": clusters,
        "inertia": means.inertia_,
        "k_means_seconds": means_seconds,
        "eps": eps,
        "min_points": MIN_POINTS,
        "dbscan_seconds": density_seconds,
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    tables = [("groups", groups(), 5), ("skewed", skewed(), 6), ("households", households(), 4)]
    for name, columns, _ in tables:
        if columns is None:
            print(f"{name}: {SHARED_DATA / 'energy'} has no block_*.csv; STEPPE_SHARED_DATA names the folder of data")
    answers = [compared(*table) for table in tables if table[1] is not None]
    peers = {"versions": f"scikit-learn {sklearn.__version__}", "trees": TREES, "tables": answers}
    (FOLDER / "peers.json").write_text(json.dumps(peers))
