"""Options chosen on one half of the data, methods ranked on the other: does the order of the methods survive?

$ python examples/protocols.py        # writes studies/protocols here
"""

from __future__ import annotations

from clframe.eval.protocol import conduct, groups, parse_study

STUDY = {
    "methods": ["finetune", "er(size=50)"],
    "space": {"lr": [0.01, 0.1]},
    "scenarios": "split-digits(experiences=2)",
    "protocols": ["end-of-training", "first-task"],
    "trials": 2,
    "seeds": 1,
    "options": {"evaluate": "boundaries"},
}


def main() -> None:
    study = parse_study(STUDY)
    for group in groups(study, conduct(study, "studies/protocols", jobs=1)):
        for line in group.lines:
            print(f"{group.protocol:16} {line.method:12} rank {line.rank}, score {line.score.mean:.2f}")


if __name__ == "__main__":
    main()
