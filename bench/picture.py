"""The picture of docs/performance.md: CPU time of the mux for connections, requests and bulk, memory of an idle connection, and CPU time
for datagrams, usher beside its peers. Drawn by matplotlib, for pages with a light or a dark background: nothing is black or white."""

import pathlib

NAMES = {
    "usher": "usher", "usher-unix": "usher, UNIX backend", "usher-handover": "usher, handover", "haproxy": "HAProxy",
    "haproxy-splice": "HAProxy, splice", "nginx": "nginx stream", "sslh": "sslh-select",
    "sslh-ev": "sslh-ev",
}
PANELS = (
    ("conn_cpu", 100, "CPU µs a new connection", "{:.0f}"),
    ("req_cpu", 100, "CPU µs a request", "{:.1f}"),
    ("gb_cpu", 1, "CPU s a GB", "{:.2f}"),
    ("idle_kb", 1, "KB an idle connection", "{:.1f}"),
    ("ping_1_cpu", 1, "CPU µs a datagram, 1 in flight", "{:.1f}"),
    ("ping_8_cpu", 1, "CPU µs a datagram, 8 in flight", "{:.1f}"),
    ("bulk_joined_cpu", 1, "CPU s a GB of datagrams", "{:.2f}"),
    ("flow_cpu", 1, "CPU µs a new flow", "{:.1f}"),
)
PANELS_IN_A_ROW = 4
OURS, THEIRS, INK = "#2a9d5c", "#8a93a3", "#808080"


def bars_of(everything, key, factor):
    invalid = set(everything["invalid"])
    medians = everything["medians"]
    names = [name for name in NAMES if name in medians and medians[name].get(key) is not None and f"{name} {key}" not in invalid]
    return [(NAMES[name], medians[name][key] * factor, OURS if name.startswith("usher") else THEIRS) for name in names]


def draw_panel(axes, bars, title, form):
    axes.barh([name for name, _, _ in bars], [value for _, value, _ in bars], color=[color for _, _, color in bars], height=0.7)
    most = max(value for _, value, _ in bars)
    for row, (_, value, _) in enumerate(bars):
        axes.text(value + most * 0.02, row, form.format(value), va="center", color=INK, fontsize=8)
    axes.set_xlim(0, most * 1.2 or 1)
    axes.set_title(title, color=INK, fontsize=9, loc="left")
    axes.invert_yaxis()
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.set_xticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def draw(everything, path):
    """False where there is nothing to draw, or nothing to draw with."""
    panels = [(bars_of(everything, key, factor), title, form) for key, factor, title, form in PANELS]
    panels = [panel for panel in panels if panel[0]]
    try:
        import matplotlib
    except ImportError:
        return False
    if not panels:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "usher", "font.family": "sans-serif"})
    from matplotlib import pyplot
    columns, rows = min(len(panels), PANELS_IN_A_ROW), -(-len(panels) // PANELS_IN_A_ROW)
    figure, axes = pyplot.subplots(rows, columns, figsize=(2.9 * columns, 2.1 * rows), squeeze=False)
    for one, (bars, title, form) in zip(axes.flat, panels):
        draw_panel(one, bars, title, form)
    for unused in axes.flat[len(panels):]:
        unused.set_axis_off()
    figure.tight_layout()
    figure.savefig(pathlib.Path(path), transparent=True, metadata={"Date": None})
    pyplot.close(figure)
    return True
