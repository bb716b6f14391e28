# Specs: one small file a bundle, named by the hash of what it says.


localrules:
    spec,


rule spec:
    """Write down the runs of one bundle."""
    output:
        "results/specs/{bundle}.json",
    log:
        "results/logs/spec/{bundle}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m fedpareto spec --bundle {wildcards.bundle} --output {output} &> {log}"
