# Training: one job a bundle, which uses the whole machine. Follow it with `tail -f results/logs/train/*.log`.


rule train:
    """Train the runs of one bundle that the store in results/runs lacks."""
    input:
        spec="results/specs/{bundle}.json",
        privacy="results/privacy/{bundle}.json",
        data=data_of_bundle,
        code=code_of_bundle("train"),
    output:
        runs="results/bundles/{bundle}/runs.parquet",
        metrics="results/bundles/{bundle}/metrics.parquet",
        partition="results/bundles/{bundle}/partition.parquet",
        clients="results/bundles/{bundle}/clients.parquet",
        curves="results/bundles/{bundle}/curves.parquet",
    log:
        "results/logs/train/{bundle}.log",
    benchmark:
        "results/benchmarks/train/{bundle}.tsv"
    conda:
        "../../environment.yml"
    threads: workflow.cores
    resources:
        gpu=1,
    params:
        execution=shlex.quote(json.dumps(dict(PLAN.execution))),
    shell:
        "python -m fedpareto train --spec {input.spec} --privacy {input.privacy} --data {input.data}"
        " --output results/bundles/{wildcards.bundle}"
        " --execution {params.execution} &> {log}"
