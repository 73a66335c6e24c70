"""Findings of core.analysis.checks in words: a card each."""
import html

from core.analysis.checks import Finding
from dashboard.i18n import number, t

STYLE = """<style>
.alarms { display: grid; grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); gap: 14px; font-size: 15px; }
.alarms section { border-radius: 8px; padding: 12px 14px; min-height: 112px; background: rgba(128, 128, 128, 0.1);
  border-left: 4px solid rgba(128, 128, 128, 0.35); }
.alarms section.ok { border-left-color: #1f9e89; }
.alarms section.fired { border-left-color: #e8551f; background: rgba(232, 85, 31, 0.13); }
.alarms h4 { margin: 0; padding: 0 0 4px; font-size: 16px; font-weight: 650; }
.alarms p { margin: 0; line-height: 21px; opacity: 0.85; }
</style>"""


def words(finding: Finding) -> str:
    """Two sentences on what was found, with its numbers."""
    values = {key: f"{value:.0f}" if key in ("zero", "total") else f"{number(100 * value, 0)} %"
              for key, value in finding.values.items()}
    return t(f"alarm.{finding.name}.{'fired' if finding.fired else 'ok'}", **values)


def cards(findings: list[Finding], expected: int, subject: str = "") -> str:
    """A card for each finding, headed by whom it is about, and the room of those still to come."""
    head = f"{html.escape(subject)}: " if subject else ""
    sections = [f'<section class="{"fired" if each.fired else "ok"}"><h4>{"⚠" if each.fired else "✓"} '
                f'{head}{html.escape(t(f"alarm.{each.name}"))}</h4><p>{html.escape(words(each))}</p></section>'
                for each in findings]
    sections += ["<section><p>…</p></section>"] * (expected - len(findings))
    return f'{STYLE}<div class="alarms">{"".join(sections)}</div>'
