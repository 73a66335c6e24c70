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
.alarms.one { grid-template-columns: minmax(0, 720px); }
.alarms.one section { min-height: 0; }
</style>"""


def words(finding: Finding) -> str:
    """Two sentences on what was found, with its numbers."""
    values = {key: f"{value:.0f}" if key in ("zero", "total") else f"{number(100 * value, 0)} %"
              for key, value in finding.values.items()}
    return t(f"alarm.{finding.name}.{'fired' if finding.fired else 'ok'}", **values)


def card(title: str, text: str) -> str:
    """One alarm that went off, as HTML."""
    return f'{STYLE}<div class="alarms one">{_section("fired", "⚠", title, text)}</div>'


def cards(findings: list[Finding], expected: int, subject: str = "") -> str:
    """A card for each finding, headed by whom it is about, and the room of those still to come."""
    head = f"{subject}: " if subject else ""
    sections = [_section(*(("fired", "⚠") if each.fired else ("ok", "✓")), head + t(f"alarm.{each.name}"), words(each))
                for each in findings]
    sections += ["<section><p>…</p></section>"] * (expected - len(findings))
    return f'{STYLE}<div class="alarms">{"".join(sections)}</div>'


def _section(kind: str, sign: str, title: str, text: str) -> str:
    return f'<section class="{kind}"><h4>{sign} {html.escape(title)}</h4><p>{html.escape(text)}</p></section>'
