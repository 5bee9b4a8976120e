"""The template of a study's page, and what its columns mean."""

from __future__ import annotations

DEFINITIONS = {
    "tuning, rank": "the score of what was chosen, on the validation samples that the choice looked at, and its rank among the "
    "methods. It is the best of several trials, so it overstates.",
    "evaluation, rank": "mean over evaluation seeds with half the width of its 95 % interval, and the rank of the mean; a method "
    "that lost a run has none. Compare ranks and regret, not the scores of the two phases.",
    "regret": "score of the setting that the oracle (end-of-training) chose minus this score, on the same seeds: what a better "
    "choice would have brought.",
    "transfer": "Spearman correlation of the trials' scores under this protocol with those of the same settings under the oracle.",
    "spread": "standard deviation of the trials' scores: how much hangs on the choice.",
    "best of 1": "expected tuning score of one setting drawn at random, among the trials with a score: what the method gives "
    "untuned.",
    "compute": "floating-point operations of training in all trials and reported runs together; trials that diverged are not "
    "counted.",
    "time to target": "operations of training, and updates, until the stream accuracy of the reported run reached the target "
    "to keep it, at the steps where all experiences were measured (the boundaries, and every measured step of the last "
    'experience); median over evaluation seeds, where one that did not, or diverged, is infinite. "Lost it again": it had '
    "learned the last experience before it forgot the others.",
    "with tuning": "the same with the operations of the trials: all, or a seed's own where every seed chooses for itself.",
    "target": "median over methods of their mean final stream accuracy, unless one was given: half of the methods end there "
    "or above.",
    "Kendall's tau": "agreement of the two orders: 1 the same, 0 unrelated, −1 turned round; its interval is over resampled seeds.",
    "critical difference": "two methods whose mean ranks differ by less are not told apart (Nemenyi, 5 %); a bar joins them. "
    "A block is one scenario with one evaluation seed.",
    "score (of a profile)": "area under the performance profile from 1 to 4 times the fastest, as a share: 1 is the fastest "
    "everywhere.",
    "cost": "of tuning and scoring all methods with all seeds, in units of training one experience once.",
}
HOW = {
    "ranks": "One line a method, 1 is best. Lines that cross are orders that did not hold; a faint line ends where its "
    "method lost runs and has no rank.",
    "trials": "Expected best tuning score of r trials, for r up to all that were made. A curve that is still rising says that "
    "the method was not searched to the end; dotted: its other trials have no score.",
    "differences": "Mean ranks over blocks, the best on the left. A bar joins methods that are not told apart. Seeds of one "
    "scenario are not independent data sets: with few scenarios this says whether the order holds over class orders and initial "
    "weights, not whether it holds on other data.",
    "profiles": "Share of workloads (a scenario with a seed) that a method brings to the target in at most so many times the "
    "training operations of the fastest. With tuning on the clock, the trials that chose its options count, too. "
    "A method that never gets there has no line; where there is a dotted line, the score ends there.",
}
TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
{{ style|safe }}
.answers { list-style: none; padding: 0; margin: 12px 0; max-width: 100ch; }
.answers li { margin: 10px 0; }
.outcome td { font-size: 15px; }
.outcome td, .outcome th { padding-left: 9px; padding-right: 9px; }
.settings.phases th { min-width: 0; }
.settings.phases .n, .settings.phases th { white-space: nowrap; overflow-wrap: normal; }
.settings.phases td { min-width: 90px; }
.scores { grid-template-columns: repeat(auto-fill, minmax(min(100%, 470px), 1fr)); margin-top: 12px; }
.warned { max-width: 100ch; padding-left: 18px; margin: 4px 0 12px; }
.warned li { margin: 2px 0; }
h4 { font-size: 14px; margin: 18px 0 2px; }
{% for swatch in swatches %}.k{{ loop.index0 }} { background: {{ swatch|safe }}; }
{% endfor %}
@media (prefers-color-scheme: dark) { :root {
{% for light, night in dark.items() %}--c{{ light[1:] }}: {{ night }};{% endfor %}

} }
</style>
</head>
<body>
{% macro named(method) %}<th class="named"><span class="key k{{ colour.get(method, 0) }}"></span>{{ method }}</th>{% endmacro %}
<header>
<h1>{{ title }}</h1>
<p class="facts">{{ facts|join(' · ') }}</p>
</header>
<main>
<section id="answer">
{% for scenario in scenarios %}
{% if scenarios|length > 1 %}<h3>{{ scenario }}</h3>{% endif %}
<ul class="answers">
{% for p in parts if p.scenario == scenario %}<li><b>{{ p.protocol }}</b>: {{ p.answer }}</li>
{% endfor %}</ul>
{% endfor %}
{% for names, w in notices %}<p class="notice"><b>{{ names }}</b>: {{ w }}</p>
{% endfor %}
</section>
<section id="tables">
{% for p in parts %}
<h3>{{ p.name }}</h3>
<p class="how">The choice looks at {{ p.looks_at }}{{ '' if p.deployable else '; not for deployment' }}. {{ p.tau }}</p>
<div class="scroll"><table class="headline outcome">
<thead><tr>{% for c in columns %}<th{{ '' if loop.first else ' class=n' }}>{{ c }}</th>{% endfor %}</tr></thead>
<tbody>
{% for method, cells in p.rows %}<tr>{{ named(method) }}
{%- for main, small in cells %}<td class="n">{{ main }}
{%- for line in small.split('; ') if line %}<small>{{ line }}</small>{% endfor %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<p class="footnote">{% if p.target is none %}No method has a final accuracy, so there is no target.{% else -%}
Target: a stream accuracy of {{ '%.3f'|format(p.target) }}.{% endif %}</p>
{% endfor %}
<p class="footnote">{{ legend }} All columns: <a href="#columns">below</a>.</p>
</section>
{% for d in drawn %}
<section id="{{ d.key }}">
<h3>{{ d.title }}</h3>
<p class="how">{{ how_to_read[d.key] }}</p>
<div class="grid">{% for p in d.pictures %}
<figure><figcaption>{{ p.caption }}</figcaption>{{ p.svg|safe }}</figure>{% endfor %}</div>
{% for n in d.notes %}<p class="footnote">{{ n }}</p>
{% endfor %}
{% for n in d.left_out %}<p class="how">{{ n }}</p>
{% endfor %}
{% if d.scores %}<div class="grid scores">
{% for name, rows, over in d.scores %}<div><h4>{{ name }}</h4><div class="scroll"><table class="budget">
<thead><tr><th>method</th><th class="n">reached</th><th class="n">score</th><th class="n">with tuning</th>
<th class="n">speed-up</th></tr></thead>
<tbody>{% for method, cells in rows %}<tr>{{ named(method) }}{% for c in cells %}<td class="n">{{ c }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div><p class="footnote">{{ over }}</p></div>
{% endfor %}</div>{% endif %}
</section>
{% endfor %}
<section id="chosen">
<h3>What was chosen</h3>
{% for p in parts if p.chosen %}<h4>{{ p.name }}</h4>
<div class="scroll"><table class="settings"><tbody>
{% for method, values in p.chosen %}<tr>{{ named(method) }}<td>{% for v in values %}<div>{{ v }}</div>{% endfor %}</td></tr>
{% endfor %}</tbody></table></div>
{% else %}<p class="how">Nothing was chosen: every option was given.</p>
{% endfor %}
</section>
<section id="warnings">
<h3>What to be wary of</h3>
{% for p in parts %}{% set all = p.notices + p.warnings %}{% if all %}
<details{{ ' open' if all|length <= many else '' }}>
<summary>{{ p.name }}: {{ all|length }} warning{{ '' if all|length == 1 else 's' }}
</summary><ul class="warned">{% for w in all %}<li>{{ w }}</li>{% endfor %}</ul></details>
{% else %}<p>{{ p.name }}: nothing.</p>{% endif %}{% endfor %}
</section>
<section id="how">
<h3>How it was done</h3>
<div class="scroll"><table class="settings"><tbody>
{% for key, value in how %}<tr><th>{{ key }}</th><td>{{ value }}</td></tr>
{% endfor %}</tbody></table></div>
<h4>What each protocol looks at, and its cost</h4>
<div class="scroll"><table class="settings phases"><thead><tr><th>scenario</th><th>protocol</th><th>looks at</th>
<th>one pass could do it</th><th>tuned on</th><th>scored on</th><th class="n">cost</th></tr></thead><tbody>
{% for row in phases %}<tr>{% for c in row %}<td{{ ' class=n' if loop.last else '' }}>{{ c }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<h4>What could be chosen</h4>
<div class="scroll"><table class="settings"><tbody>
{% for method, words in spaces %}<tr>{{ named(method) }}<td>{{ words|join('; ') or 'nothing' }}</td></tr>
{% endfor %}</tbody></table></div>
<details><summary>Versions and hashes</summary>
<div class="scroll"><table class="settings"><tbody>
{% for key, value in environment.common %}<tr><th>{{ key }}</th><td>{{ value }}</td></tr>
{% endfor %}{% for key, values in environment.differing %}<tr><th>{{ key }}</th><td>{{ values|unique|join(', ') }}</td></tr>
{% endfor %}{% for scenario, seed, hash in streams %}<tr><th>{{ scenario }}, seed {{ seed }}</th><td>{{ hash }}</td></tr>
{% endfor %}</tbody></table></div></details>
</section>
<section id="columns">
<h3>What the columns mean</h3>
<p class="how">{{ metric[0] }}: {{ metric[1] }}; {{ metric[2] }}. An en dash means "not defined", never 0.</p>
<dl>{% for name, text in definitions.items() %}<div><dt>{{ name }}</dt><dd>{{ text }}</dd></div>
{% endfor %}</dl>
</section>
</main>
</body>
</html>
"""
