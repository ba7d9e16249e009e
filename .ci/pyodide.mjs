// Runs pytest in CPython for WebAssembly (Pyodide), under Node: node .ci/pyodide.mjs MODULES PACKAGES pytest-arguments...
// MODULES is a node_modules with pyodide in it, PACKAGES a folder with Python packages. There are no processes, threads,
// timers or connections, so this is for tests that only decide. `make python314` installs what it needs.
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [modules, packages, ...given] = process.argv.slice(2);
const home = path.join(path.resolve(modules), "pyodide");
const { loadPyodide } = await import(pathToFileURL(path.join(home, "pyodide.mjs")));

const python = await loadPyodide({ indexURL: `${home}/`, env: { ...process.env, HOME: "/tmp" } });
for (const [inside, outside] of [["/repository", process.cwd()], ["/packages", path.resolve(packages)]]) {
  python.FS.mkdirTree(inside);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: outside }, inside);
}
python.globals.set("given", python.toPy(given));
const ended = await python.runPythonAsync(`
import os, signal, sys
sys.path[:0] = ["/repository", "/packages"]
sys.dont_write_bytecode = True
os.chdir("/repository")
signal.setitimer = lambda *_: (0.0, 0.0)  # pytest-timeout asks for it
print(sys.version)
import pytest
quiet = "ignore:It looks like"  # of Hypothesis: it counts references, and there are fewer in 3.14
int(pytest.main(["-p", "no:cacheprovider", "-o", "timeout=0", "-W", quiet, *given]))
`);
process.exit(ended);
