"""What the examples read by themselves: levels of the command line, and files of counts."""

import shutil

import pytest

pytestmark = pytest.mark.integration

NODE = """
import {{ readLevels }} from '{folder}/node/levels.mjs';
const [name, text] = process.argv.slice(1);
console.log(readLevels(name, text, 2).join(','));
"""
CPP = r"""
#include <cstdio>
#include "inputs.hpp"

struct DecimalComma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
};

int main(int argc, char** argv) try {
  std::locale::global(std::locale(std::locale::classic(), new DecimalComma));
  if (std::string(argv[1]) == "counts") {
    std::printf("%zu\n", read_counts(argv[2]).size());
    return 0;
  }
  const auto values = levels(argv[1], argc > 2 ? argv[2] : nullptr, 2);
  std::printf("%g,%g\n", values[0], values[1]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return 2;
}
"""


@pytest.fixture(scope="module")
def cpp_inputs(examples, call, tmp_path_factory):
    """Compiled program that reads inputs as the C++ examples do, where commas are decimal points."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "inputs.cpp").write_text(CPP)
    flags = "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{examples / 'cpp'}"
    call("g++", *flags, folder / "inputs.cpp", "-o", folder / "inputs")
    return [folder / "inputs"]


@pytest.fixture(params=["node", "cpp"])
def read(request, examples, call):
    """Reads the levels of two channels: name, text and exit code to what is printed."""
    if request.param == "cpp":
        command = request.getfixturevalue("cpp_inputs")
    elif shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    else:
        command = ["node", "--input-type=module", "-e", NODE.format(folder=examples), "--"]
    return lambda *arguments, exit_code=0: call(*command, *arguments, exit_code=exit_code).strip()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["background", "60,55.5"], "60,55.5"),
        (["background", "0,-1e1"], "0,-10"),
        (["background", "nan,NaN"], "nan,nan"),
        (["scale", "4e2,nan"], "400,nan"),
        (["scale"], "nan,nan"),
    ],
)
def test_levels_are_one_number_per_channel(read, arguments, expected):
    assert read(*arguments).lower() == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "60", "60,", "60,55,", ",60", "60,55,50", "60,x", "55abc,60", "5O,60", "60;55", "0x10,60"),
        *("inf,60", "60,-Infinity", "1e39,60", "400,0", "400,-1", "400,1e-60"),
    ],
)
def test_levels_that_are_not_are_refused(read, text):
    assert read("scale", text, exit_code=2).startswith(f"error: scale {text} is not 2 numbers, one per channel")


def test_half_a_count_is_refused_in_cpp(cpp_inputs, call, tmp_path):
    (tmp_path / "counts.u16").write_bytes(bytes(10))
    (tmp_path / "odd.u16").write_bytes(bytes(11))
    assert call(*cpp_inputs, "counts", tmp_path / "counts.u16") == "5\n"
    assert "no whole number of uint16 counts" in call(*cpp_inputs, "counts", tmp_path / "odd.u16", exit_code=2)
