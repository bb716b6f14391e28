# Privacy: what every run of a bundle proves, before anything is trained.


rule account:
    """Build the privacy plan of every run, and prove its epsilon by round."""
    input:
        spec="results/specs/{bundle}.json",
        code=CODE["privacy"],
    output:
        "results/privacy/{bundle}.json",
    log:
        "results/logs/account/{bundle}.log",
    conda:
        "../../environment.yml"
    shell:
        "python -m fedpareto account --spec {input.spec} --output {output} &> {log}"
