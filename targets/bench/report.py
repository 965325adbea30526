"""Puts the results of peers.sh into docs/performance.md: tables, and a plot beside it.

  report.py RESULTS.json [--docs FOLDER]     default: the repository's docs

Only what stands between the page's two markers is written; the text around it is for people. Needs nothing but Python.
"""
import argparse
import datetime
import json
import os

BEGIN, END = '<!-- measured: begin -->', '<!-- measured: end -->'
OURS = 'cygnet'
NAMES = {'ort': 'ONNX Runtime', 'litert': 'LiteRT', 'openvino': 'OpenVINO', 'ncnn': 'ncnn', 'mnn': 'MNN', 'tract': 'tract',
         'rten': 'rten', 'ort_u8s8': 'ONNX Runtime'}


def name(peer):
    return NAMES.get(peer, peer)


def machine():
    """The processor's name and the number of its cores here."""
    with open('/proc/cpuinfo') as f:
        model = next((line.split(':')[1].strip() for line in f if line.startswith('model name')), 'unknown processor')
    return f'{model}, {os.cpu_count()} cores'


def groups(rows):
    """Rows with a time by (precision, threads, model): {peer: row}."""
    found = {}
    for row in rows:
        if 'best_ms' in row:
            found.setdefault((row['prec'], row['threads'], row['model']), {})[row['peer']] = row
    return {key: cell for key, cell in sorted(found.items()) if OURS in cell and len(cell) > 1}


def fastest(cell, measure='best_ms'):
    """The peer that is best by a measure, and its row."""
    return min(((p, r) for p, r in cell.items() if p != OURS), key=lambda pr: pr[1][measure])


def table(head, rows):
    line = lambda cells: '| ' + ' | '.join(cells) + ' |'
    return '\n'.join([line(head), line(['---'] + ['---:'] * (len(head) - 1)), *map(line, rows)]) + '\n'


def latencies(cells, prec, threads):
    """Best and median of every runtime on every model."""
    cells = {key[2]: cell for key, cell in cells.items() if key[:2] == (prec, threads)}
    peers = sorted({p for cell in cells.values() for p in cell if p != OURS}, key=lambda p: list(NAMES).index(p))
    peers = [p for p in peers if p != 'ort_u8s8']
    rows = []
    for model, cell in cells.items():
        if 'ort_u8s8' in cell and cell['ort_u8s8']['best_ms'] < cell.get('ort', cell['ort_u8s8'])['best_ms']:
            cell = {**cell, 'ort': cell['ort_u8s8']}
        cell = {p: r for p, r in cell.items() if p != 'ort_u8s8'}
        mine = cell[OURS]
        show = lambda r: '' if r is None else f'{r["best_ms"]:.2f} ({r["median_ms"]:.2f})'
        rows.append([model, f'**{mine["best_ms"]:.2f}** ({mine["median_ms"]:.2f})',
                     f'{fastest(cell)[1]["best_ms"] / mine["best_ms"]:.2f}',
                     f'{fastest(cell, "median_ms")[1]["median_ms"] / mine["median_ms"]:.2f}',
                     *[show(cell.get(p)) for p in peers]])
    head = ['model', 'Cygnet', 'fastest peer / Cygnet', 'by medians', *map(name, peers)]
    return table(head, rows)


def own(cells):
    """What int8 and a second thread gain."""
    rows = []
    for model in dict.fromkeys(key[2] for key in cells):
        best = lambda prec, threads: cells.get((prec, threads, model), {}).get(OURS, {}).get('best_ms')
        ratio = lambda a, b: f'{a / b:.2f}' if a and b else ''
        rows.append([model, ratio(best('fp32', 1), best('int8', 1)), ratio(best('fp32', 1), best('fp32', 2)),
                     ratio(best('int8', 1), best('int8', 2))])
    return table(['model', 'f32 / int8, 1 thread', '1 / 2 threads, f32', '1 / 2 threads, int8'], rows)


def starts(cells):
    """Load and first inference of a cold process, and what it needs of memory."""
    rows = []
    for (prec, threads, model), cell in cells.items():
        if threads != 1:
            continue
        mine = cell[OURS]
        quick, small = fastest(cell, 'cold_ms'), fastest(cell, 'rss_mb')
        rows.append([f'{model} {prec}', f'{mine["cold_ms"]:.1f}', f'{quick[1]["cold_ms"]:.1f} ({name(quick[0])})',
                     f'{quick[1]["cold_ms"] / mine["cold_ms"]:.1f}', f'{mine["rss_mb"]:.1f}',
                     f'{small[1]["rss_mb"]:.1f} ({name(small[0])})'])
    head = ['model', 'Cygnet: load to first result, ms', 'quickest peer, ms', 'ratio', 'Cygnet: peak resident MB',
            'smallest peer, MB']
    return table(head, rows)


def plot(cells):
    """Bars of the fastest peer's time over Cygnet's, one thread, as an SVG."""
    models = list(dict.fromkeys(key[2] for key in cells))
    bars = [(model, prec, fastest(cells[prec, 1, model])) for model in models for prec in ('int8', 'fp32')
            if (prec, 1, model) in cells]
    left, width, bar, gap = 190, 520, 14, 10
    most = max(peer[1]['best_ms'] / cells[prec, 1, model][OURS]['best_ms'] for model, prec, peer in bars)
    scale = width / most
    out, y, last = [], 34, None
    for model, prec, (peer, row) in bars:
        if model != last:
            y += gap
            out.append(f'<text x="{left - 8}" y="{y + bar}" text-anchor="end">{model}</text>')
            last = model
        ratio = row['best_ms'] / cells[prec, 1, model][OURS]['best_ms']
        colour = '#1b7f79' if prec == 'int8' else '#8fc1be'
        out.append(f'<rect x="{left}" y="{y}" width="{ratio * scale:.1f}" height="{bar - 2}" fill="{colour}"/>')
        out.append(f'<text x="{left + ratio * scale + 5:.1f}" y="{y + bar - 4}" class="small">{ratio:.2f} '
                   f'{"int8" if prec == "int8" else "f32"}, {name(peer)}</text>')
        y += bar
    x = left + scale
    out.append(f'<line x1="{x:.1f}" y1="36" x2="{x:.1f}" y2="{y + 4}" stroke="#c0392b" stroke-dasharray="4 3"/>')
    out.append(f'<text x="{x:.1f}" y="30" text-anchor="middle" class="small">as fast as Cygnet</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 170} {y + 16}" '
            'font-family="sans-serif" font-size="12">\n<style>.small { font-size: 10px }</style>\n'
            '<rect width="100%" height="100%" fill="white"/>\n'
            '<text x="8" y="18" font-size="14">Time of the fastest other runtime over Cygnet\'s, one thread</text>\n'
            + '\n'.join(out) + '\n</svg>\n')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('results')
    p.add_argument('--docs', default=os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'docs'))
    a = p.parse_args()
    with open(a.results) as f:
        cells = groups(json.load(f)['rows'])
    versions = {name(p): row['version'] for cell in cells.values() for p, row in cell.items()}
    date = datetime.date.fromtimestamp(os.path.getmtime(a.results)).isoformat()
    parts = [f'{machine()}; {date}. Versions: ' + ', '.join(f'{v}' for v in versions.values()) + '.\n',
             "![Time of the fastest other runtime over Cygnet's](performance.svg)\n"]
    for prec, title in (('int8', 'int8'), ('fp32', 'f32')):
        for threads in (1, 2):
            parts.append(f'### {title}, {threads} thread{"s" if threads > 1 else ""}: milliseconds, best (median)\n')
            parts.append(latencies(cells, prec, threads))
    parts += ['### What int8 and a second thread gain\n', own(cells), '### Start and memory, one thread\n', starts(cells)]
    path = os.path.join(a.docs, 'performance.md')
    with open(path) as f:
        text = f.read()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    for target, content in ((path, before + BEGIN + '\n\n' + '\n'.join(parts) + '\n' + END + after),
                            (os.path.join(a.docs, 'performance.svg'), plot(cells))):
        with open(target + '.new', 'w') as f:
            f.write(content)
        os.replace(target + '.new', target)


if __name__ == '__main__':
    main()
