"""Which rooms of the program may know what, and how large they are: checked on the source itself."""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vtep_ryu"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CORE = [path for path in SOURCES if path.parent.name == "core"]
STAGE_NAMES = ("classify", "learn", "forward", "storm_control", "flood", "egress", "render")
STAGES = [path for path in CORE if path.stem in STAGE_NAMES]
OTHERS = [path for room in ("apps", "bench", "tests") for path in sorted((ROOT / room).rglob("*.py"))]
OUTSIDE = {"ryu", "ovs", "eventlet"}
IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "select", "selectors", "signal", "subprocess"),
    *("calendar", "datetime", "locale", "random", "secrets", "threading", "time", "uuid", "zoneinfo"),
    *("builtins", "ctypes", "fcntl", "getpass", "importlib", "io", "os", "pathlib", "platform", "shutil", "sys"),
    *("http", "socket", "socketserver", "ssl", "tempfile", "urllib"),
}
IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "hash", "id", "globals"}
NUMBERS = {"table_id", "priority", "cookie", "cookie_mask", "group_id", "meter_id", "id"}
FORKING = ("os.system", "os.popen", "os.fork", "os.spawn", "os.exec", "os.posix_spawn", "pty.spawn")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Everything in a module, the module first."""
    return tuple(ast.walk(ast.parse(path.read_text(), str(path))))


def imports(path: Path) -> Iterator[str]:
    """The full names of what a module imports, wherever in the file it does."""
    for node in nodes(path):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=module, level=level):
                yield from (f"{'.' * level}{module or ''}.{alias.name}" for alias in node.names)


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in nodes(path) if isinstance(node, ast.Call))


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in nodes(path) if isinstance(node, ast.FunctionDef))


def integers(node: ast.AST) -> set[int]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and type(each.value) is int}


def test_the_checks_have_something_to_check():
    assert len(CORE) > 15
    assert len(STAGES) == len(STAGE_NAMES)
    assert len(SOURCES) - len(CORE) > 10


def test_the_core_imports_nothing_but_itself_and_pure_parts_of_the_standard_library():
    pure = sys.stdlib_module_names - IMPURE
    found = [(name(path), module) for path in CORE for module in imports(path)]
    assert [
        each for each in found if not each[1].startswith("vtep_ryu.core.") and each[1].split(".")[0] not in pure
    ] == []


def test_the_core_opens_prints_and_evaluates_nothing():
    called = [(name(path), ast.unparse(call)) for path in CORE for call in calls(path)]
    assert [each for each in called if each[1].split("(")[0] in IMPURE_CALLS] == []


def test_only_drivers_apps_and_the_command_import_ryu_ovs_and_eventlet():
    others = [path for path in SOURCES if path.parent.name not in ("drivers", "apps", "command")]
    found = [(name(path), module) for path in others for module in imports(path)]
    assert [each for each in found if each[1].split(".")[0] in OUTSIDE] == []


def test_no_driver_imports_an_application():
    drivers = [path for path in SOURCES if path.parent.name == "drivers"]
    found = [(name(path), module) for path in drivers for module in imports(path)]
    assert [each for each in found if each[1].startswith("vtep_ryu.apps")] == []


def test_the_application_forks_nothing():
    sources = [path for path in SOURCES if path.parent.name != "command"]
    found = [(name(path), module) for path in sources for module in imports(path)]
    assert [each for each in found if each[1].split(".")[0] in ("subprocess", "multiprocessing", "pty")] == []
    called = [(name(path), ast.unparse(call.func)) for path in sources for call in calls(path)]
    assert [each for each in called if each[1].startswith(FORKING)] == []


def test_no_module_but_the_pipeline_has_a_table_number_a_priority_a_cookie_or_a_group_id():
    others = [path for path in SOURCES if path.stem != "pipeline"]
    keywords = [(name(path), keyword) for path in others for call in calls(path) for keyword in call.keywords]
    assert [
        (where, ast.unparse(keyword))
        for where, keyword in keywords
        if keyword.arg in NUMBERS and integers(keyword.value)
    ] == []


def test_a_stage_writes_its_flows_in_the_pipelines_words():
    """Flow(table, priority, ...), Match(field, ...) and Set(field, ...) name what the pipeline declares."""
    declared = {"Flow": 2, "Match": 1, "Set": 1, "Resubmit": 1}
    made = [(name(path), call, declared.get(ast.unparse(call.func), 0)) for path in STAGES for call in calls(path)]
    words = [(where, ast.unparse(argument)) for where, call, count in made for argument in call.args[:count]]
    assert len(words) > 30
    assert [each for each in words if not each[1].startswith("p.")] == []


def test_a_stage_has_no_number_without_a_name_but_0_and_1():
    for path in STAGES:
        module = nodes(path)[0]
        assert isinstance(module, ast.Module)
        named = {number for node in module.body if isinstance(node, ast.Assign) for number in integers(node)}
        assert integers(module) <= {0, 1, *named}, name(path)


def test_nothing_in_the_core_is_named_after_adding_or_deleting():
    found = [(name(path), function.name) for path in CORE for function in functions(path)]
    assert [each for each in found if each[1].lstrip("_").startswith(("add", "del"))] == []


def test_every_public_module_class_and_function_says_what_it_is():
    for path in SOURCES:
        module = nodes(path)[0]
        assert isinstance(module, ast.Module)
        assert ast.get_docstring(module), name(path)
        public = [
            node for node in module.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_"
        ]
        assert [(name(path), node.name) for node in public if not ast.get_docstring(node)] == []


def test_a_file_stays_below_400_lines_and_a_function_on_a_screen_or_two():
    files = [*SOURCES, *OTHERS]
    assert [(name(path), count) for path in files if (count := path.read_text().count("\n")) >= 400] == []
    lengths = [
        (name(path), each.name, (each.end_lineno or 0) - each.lineno) for path in files for each in functions(path)
    ]
    assert [each for each in lengths if each[2] > 80] == []


def test_the_architecture_page_names_every_module_of_the_core_the_drivers_and_the_command():
    page = (ROOT / "docs/architecture.rst").read_text()
    modules = [
        path for path in SOURCES if path.parent.name in ("core", "drivers", "command") and path.stem != "__init__"
    ]
    assert [name(path) for path in modules if f"``{path.stem}``" not in page] == []
