"""Completion for PowerShell, which click does not bring: the script, and what it asks.

The script hands over the line up to the cursor and what stands under it, as PowerShell's own
parser splits them, and takes one `value<TAB>help` a line.
"""

from __future__ import annotations

import os

from click.shell_completion import CompletionItem, ShellComplete

SCRIPT = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($word, $ast, $cursor)
    $words = @($ast.CommandElements | ForEach-Object { $_.Extent.Text })
    $env:%(complete_var)s = "powershell_complete"
    $env:COMP_WORDS = $words -join "`n"
    $env:COMP_WORD = $word
    try {
        & %(prog_name)s | ForEach-Object {
            $value, $help = $_ -split "`t", 2
            if (-not $help) { $help = $value }
            [System.Management.Automation.CompletionResult]::new(
                $value, $value, "ParameterValue", $help)
        }
    }
    finally {
        Remove-Item Env:%(complete_var)s, Env:COMP_WORDS, Env:COMP_WORD
    }
}
"""


class PowerShellComplete(ShellComplete):
    """Answers what the script asks."""

    name = "powershell"
    source_template = SCRIPT

    def get_completion_args(self) -> tuple[list[str], str]:
        """The whole words before the cursor, and the one under it."""
        words = [word for word in os.environ.get("COMP_WORDS", "").split("\n") if word]
        incomplete = os.environ.get("COMP_WORD", "")
        if incomplete and words and words[-1] == incomplete:
            words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """One line: what to insert, and what it is."""
        return f"{item.value}\t{item.help}" if item.help else str(item.value)
