"""The names of runs and bundles are what they were: results that users keep are found by them.

A digest that differs retrains every stored run of its configuration: that needs a word in the changelog, and a new digest here.
"""

import hashlib
import json

import pytest

from fedpareto.config import papers
from fedpareto.config.load import load
from fedpareto.sweep.sweep import plan_sweep

# Configuration -> first 16 hexadecimal digits of the SHA-256 of its sorted run ids and bundle ids.
GOLDEN = {
    "config.yaml+studies/smoke.yaml": "f079410bd1fa13db",
    "config.yaml": "a2426b79ca0e2f9d",
    "studies/credit_default.yaml": "60e6b7072fd526dc",
    "studies/fashion_mnist.yaml": "e9d39109cd905dfc",
    "studies/heart_disease.yaml": "afd8008a22feb382",
    "studies/leakage_heart.yaml": "c6e3baf7fbbf0266",
    "studies/leakage_mnist.yaml": "314b855ebabeb567",
    "studies/leakage_xray.yaml": "b7475d99fe90af52",
    "studies/mnist.yaml": "b8a484bf67960074",
    "studies/mnist_records.yaml": "35cef046176c6ff1",
    "studies/smoke.yaml": "17c70c4d0c03d2a6",
    "studies/trust_heart.yaml": "a9a96a48735e48a1",
    "studies/trust_mnist.yaml": "5b7a9d43dc42198a",
    "papers/abadi-pca.yaml": "013ce8ee573485ae",
    "papers/de-cifar-wrn.yaml": "c99d42d0de83df79",
    "papers/fedavg-2nn.yaml": "af32ed3b99d45d52",
    "papers/fedavg-cifar.yaml": "2219bcf7cd29aa03",
    "papers/flamby-heart-dp.yaml": "33ab14020455937c",
    "papers/fraud-creditcard.yaml": "13a5cfce66e1c59f",
    "papers/fraud.yaml": "20e758a5007cdf13",
    "papers/geyer-clients-10000.yaml": "348856ea95b08103",
    "papers/geyer-clients.yaml": "cb4b604234e8b262",
    "papers/tb-cifar.yaml": "2586789285cbcd83",
    "papers/tb-scatter-linear.yaml": "78c956ce2eccd4a2",
    "papers/tfp-mnist.yaml": "ed6c6053cd255e23",
}


def digest_of(sweep):
    names = json.dumps([sorted(sweep.runs), sorted(sweep.bundles)])
    return hashlib.sha256(names.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", GOLDEN)
def test_names_of_runs_and_bundles_are_what_they_were(name, request):
    files = [request.config.rootpath / "config" / part for part in name.split("+")]
    config = papers.read(files[0]).config if name.startswith("papers") else load(files)
    assert digest_of(plan_sweep(config)) == GOLDEN[name]


def test_every_study_and_paper_that_runs_has_a_digest(request):
    folder = request.config.rootpath / "config"
    studies = {f"studies/{file.name}" for file in (folder / "studies").glob("*.yaml")}
    runs = {f"papers/{name}.yaml" for name, paper in papers.read_folder(folder / "papers").items() if paper.config}
    assert studies | runs | {"config.yaml", "config.yaml+studies/smoke.yaml"} == set(GOLDEN)
