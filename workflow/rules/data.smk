# Data: fetched once, checked by sha256, prepared into arrays.


rule data:
    """Fetch and prepare one data set."""
    input:
        source=source_of_dataset,
        code=code_of_dataset,
    output:
        arrays="results/data/{dataset}.npz",
        report="results/data/{dataset}.json",
    log:
        "results/logs/data/{dataset}.log",
    conda:
        "../../environment.yml"
    params:
        options=options_of_dataset,
    shell:
        "python -m fedpareto data --dataset {wildcards.dataset} {params.options}"
        " --output {output.arrays} --report {output.report} &> {log}"
