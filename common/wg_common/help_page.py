"""``--help`` in languages other than English: the same texts, translated by a catalogue.

The English texts stay where commands and options are defined. They are the catalogue's keys: a
paragraph of a command's text, or the help of an option, with single blanks. Texts without a
translation stay English. Lines are wrapped by display width, which click's formatter does not do.
"""

from collections.abc import Iterator, Mapping, Sequence

import click

from wg_common.language import (
    ENGLISH,
    Language,
    LanguageLoader,
    display_width,
    pad_columns,
    requested_language,
    text,
    usage_line,
    wrap_columns,
)


class SectionedGroup(click.Group):
    """Command group whose ``--help`` lists the commands in titled sections.

    Attributes:
        sections: Names of commands by section title; commands in no section join the last one.
    """

    sections: Mapping[str, Sequence[str]] = {}

    def summary(self, name: str) -> str:
        """Return a command's line in the list of commands: the first paragraph of its help."""
        return command_summary(self.commands[name])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, in titled sections."""
        for title, names in command_sections(self).items():
            rows = [(name, self.summary(name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(rows)


def command_sections(group: click.Group) -> Mapping[str, Sequence[str]]:
    """Return names of commands by section title; one section if the group declares none."""
    if not isinstance(group, SectionedGroup) or not group.sections:
        return {text("Commands"): sorted(group.commands)}
    listed_names = [name for names in group.sections.values() for name in names]
    last = list(group.sections)[-1]
    remaining = [name for name in sorted(group.commands) if name not in listed_names]
    return {**group.sections, last: [*group.sections[last], *remaining]}


def translate_help(command: click.Command, load_language: LanguageLoader) -> None:
    """Make ``--help`` of a command and its subcommands print in the user's language."""

    class Speaking(click.Context):
        def get_help(self) -> str:
            language = load_language(requested_language(self))
            return super().get_help() if language is ENGLISH else help_text(self, language)

    command.context_class = Speaking
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            translate_help(subcommand, load_language)


def help_paragraphs(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help, with single blanks, as keys for translation."""
    texts = (" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    return [paragraph for paragraph in texts if paragraph]


def command_summary(command: click.Command) -> str:
    """Return the first paragraph of a command's help, with single blanks."""
    return (help_paragraphs(command) or [""])[0]


def option_help(param: click.Parameter) -> str:
    """Return the help of an option, with single blanks, as a key for translation."""
    return " ".join((getattr(param, "help", None) or "").split())


def help_text(context: click.Context, language: Language) -> str:
    """Return the ``--help`` page of a command in a language."""
    return "\n".join(_help_lines(context, language)) + "\n"


def _help_lines(context: click.Context, language: Language) -> Iterator[str]:
    command = context.command
    yield language(usage_line(context))
    for paragraph in help_paragraphs(command):
        yield ""
        yield from _wrap_help(language.catalogue.get(paragraph, paragraph), 2)
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    yield from ("", language(text("Options:")))
    for option in options:
        yield from _two_column_lines(
            _option_names(option, context), _option_explanation(option, context, language)
        )
    if isinstance(command, click.Group):
        for title, names in command_sections(command).items():
            yield from ("", language(text("{title}:", title=title)))
            for name in names:
                line = (
                    command.summary(name)
                    if isinstance(command, SectionedGroup)
                    else command_summary(command.commands[name])
                )
                yield from _two_column_lines(
                    name, language.catalogue.get(line, line).partition("。")[0]
                )


def _option_names(option: click.Option, context: click.Context) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    return names if option.is_flag else f"{names} {option.make_metavar(context)}"


def _option_explanation(option: click.Option, context: click.Context, language: Language) -> str:
    help_text = option_help(option)
    parts = [language.catalogue.get(help_text, help_text)]
    if "--help" in option.opts:
        parts = [language(text("Show this page and exit."))]
    default = option.get_default(context, call=False)
    if option.show_default and default is not None:
        parts.append(language(text("[default: {default}]", default=str(default))))
    if option.required:
        parts.append(language(text("[required]")))
    return " ".join(filter(None, parts))


def _two_column_lines(name: str, help_text: str) -> Iterator[str]:
    """Yield the lines of a help page's two-column row: a name and its explanation."""
    name_columns = 28
    lines = list(_wrap_help(help_text, name_columns + 2)) or [""]
    if display_width(name) > name_columns - 2:
        yield f"  {name}"
    else:
        yield "  " + pad_columns(name, name_columns) + lines.pop(0).lstrip()
    yield from lines


def _wrap_help(help_text: str, indent: int, *, columns: int = 80) -> Iterator[str]:
    for line in wrap_columns(help_text, columns - indent):
        yield " " * indent + line.strip()
