"""The golden cases of attention on graphs: what torch_geometric's layers, or torch with the formula, make of them.

Part of make_vectors.py, whose Maker draws and writes the arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from make_vectors import Case, Maker

SOURCE_GAT = "torch_geometric.nn.GATConv with the same parameters, float64"
SOURCE_GATV2 = "torch_geometric.nn.GATv2Conv with the same parameters, float64"
SOURCE_DOT = "torch_geometric.nn.TransformerConv without root weight, torch.nn.functional.linear behind it, float64"


SOURCE_FORMULA = "torch.nn.functional.scaled_dot_product_attention with the addition of the formula, float64"

SOURCE_TORCH = "torch, linear, tanh, softmax and products of the formula, float64"


class GraphMaker:
    def __init__(self, maker: Maker) -> None:
        self.maker = maker

    def make(self) -> None:
        self.edge_featured_cases()
        for mechanism in ("graph", "gin", "sage"):
            self.dot_edges(mechanism, "plain")
            self.dot_edges(mechanism, "heads", heads=3, dim=12, sizes=(20, 90))
            self.dot_edges(mechanism, "self-loops", loops=True)
        for interleaved in (False, True):
            self.graph_rope(interleaved, dim=8)
            self.graph_rope(interleaved, dim=7, base=50.0, scaling=2.5)
        self.hnsw_aware("layers", distance=False)
        self.hnsw_aware("layers-and-distance", distance=True)
        self.temporal("decay", causal=True)
        self.temporal("decay", causal=False)
        self.temporal("time2vec", causal=True)
        self.structural()
        self.cross_space()
        self.hierarchical()

    def edges(self, n_node: int, n_edges: int) -> Any:
        """Some of them parallel, some from a node to itself, some nodes without any."""
        return self.maker.random.integers(0, [n_node, n_node - 1], (n_edges, 2)).T

    # --- GAT and GATv2

    def edge_featured(
        self,
        name: str,
        variant: str,
        *,
        sizes: tuple[int, int] = (9, 30),
        dim: int = 6,
        heads: int = 2,
        head_dim: int = 3,
        edge_dim: int | None = None,
        loops: bool = True,
        concat: bool = True,
        share: bool = False,
        bias: bool = True,
        slope: float = 0.2,
    ) -> None:
        from torch_geometric.nn import GATConv, GATv2Conv  # type: ignore[import-not-found, unused-ignore]

        maker, width = self.maker, heads * head_dim
        draw, tensor, torch = maker.draw, maker.tensor, maker.torch
        common: Case = {
            "heads": heads, "concat": concat, "negative_slope": slope, "add_self_loops": loops, "edge_dim": edge_dim,
            "bias": bias,
        }  # fmt: skip
        parameters: Case = {"source_weight": draw(dim, width, size=dim**-0.5)}
        state: Case = {}
        if variant == "gat":
            layer = GATConv(dim, head_dim, **common).double()
            state["lin.weight"] = tensor(parameters["source_weight"]).T
            names = {"source_attention": "att_src", "target_attention": "att_dst", "edge_attention": "att_edge"}
            for ours, theirs in list(names.items())[: 2 if edge_dim is None else 3]:
                parameters[ours] = draw(heads, head_dim)
                state[theirs] = tensor(parameters[ours])[None]
        else:
            layer = GATv2Conv(dim, head_dim, share_weights=share, **common).double()
            if not share:
                parameters["target_weight"] = draw(dim, width, size=dim**-0.5)
            parameters["attention"] = draw(heads, head_dim)
            state["att"] = tensor(parameters["attention"])[None]
            sides = (("l", "source"),) if share else (("l", "source"), ("r", "target"))
            for side, ours in sides:
                state[f"lin_{side}.weight"] = tensor(parameters[f"{ours}_weight"]).T
                if bias:
                    parameters.setdefault(f"{ours}_bias", draw(width, size=0.3))
                    state[f"lin_{side}.bias"] = tensor(parameters[f"{ours}_bias"])
        if edge_dim is not None:
            parameters["edge_weight"] = draw(edge_dim, width, size=edge_dim**-0.5)
            state["lin_edge.weight"] = tensor(parameters["edge_weight"]).T
        if bias:
            parameters["bias"] = draw(width if concat else head_dim, size=0.3)
            state["bias"] = tensor(parameters["bias"])
        inputs: Case = {"nodes": draw(sizes[0], dim), "edge_index": self.edges(*sizes)}
        if edge_dim is not None:
            inputs["edge_attr"] = draw(sizes[1], edge_dim)
        edge_attr = None if edge_dim is None else tensor(inputs["edge_attr"])
        arrays = (tensor(inputs["nodes"]), torch.from_numpy(inputs["edge_index"]), edge_attr)
        how = {"return_attention_weights": True}
        output, (used, weights) = torch.func.functional_call(layer, state, arrays, how)
        expected = {"output": output}
        if used.shape[1] == sizes[1]:  # with self loops its edges are others
            expected["attention_weights"] = weights
        config: Case = {"dim": dim, "num_heads": heads, "head_dim": head_dim, "variant": variant}
        config |= {} if edge_dim is None else {"edge_dim": edge_dim}
        config |= {} if loops else {"add_self_loops": False}
        config |= {} if concat else {"concat_heads": False}
        config |= {"share_weights": True} if share else {}
        config |= {} if bias else {"bias": False}
        config |= {} if slope == 0.2 else {"negative_slope": slope}
        source = SOURCE_GAT if variant == "gat" else SOURCE_GATV2
        maker.add("edge_featured", f"{variant}-{name}", config, inputs, expected, source, parameters=parameters)

    def edge_featured_cases(self) -> None:
        for variant in ("gat", "gatv2"):
            self.edge_featured("plain", variant)
            self.edge_featured("edge-features", variant, edge_dim=4)
            self.edge_featured("edge-features-without-self-loops", variant, edge_dim=4, loops=False)
            self.edge_featured("without-self-loops", variant, loops=False)
            self.edge_featured("mean-of-heads", variant, concat=False, edge_dim=2)
            self.edge_featured("without-bias", variant, bias=False)
            self.edge_featured("slope", variant, slope=0.05, edge_dim=1)
            self.edge_featured("eight-heads-of-eight", variant, sizes=(20, 80), dim=16, heads=8, head_dim=8, edge_dim=5)
        self.edge_featured("shared-map", "gatv2", share=True)

    # --- dot products along edges

    def dot_edges(
        self,
        mechanism: str,
        name: str,
        *,
        sizes: tuple[int, int] = (9, 30),
        dim: int = 6,
        heads: int = 2,
        loops: bool = False,
    ) -> None:
        """What TransformerConv gathers, and what each mechanism makes of that."""
        from torch_geometric.nn import TransformerConv  # type: ignore[import-not-found, unused-ignore]
        from torch_geometric.utils import (  # type: ignore[import-not-found, unused-ignore]
            add_self_loops,
            remove_self_loops,
        )

        maker, torch = self.maker, self.maker.torch
        draw, tensor, linear = maker.draw, maker.tensor, maker.torch.nn.functional.linear
        maps = {"graph": ["query", "keys", "values", "output"], "gin": ["query", "keys", "hidden", "output"]}
        parameters: Case = {}
        for part in maps.get(mechanism, ["query", "keys", "self", "output"]):
            parameters[f"{part}_weight"] = draw(dim, dim, size=dim**-0.5)
            if part != "self":
                parameters[f"{part}_bias"] = draw(dim, size=0.3)
        if mechanism == "gin":
            parameters["eps"] = draw(1, size=0.5)
        p = {key: tensor(value) for key, value in parameters.items()}
        layer = TransformerConv(dim, dim // heads, heads=heads, root_weight=False).double()
        own = "values" if mechanism == "graph" else None
        state = {"lin_value.weight": torch.eye(dim).double(), "lin_value.bias": torch.zeros(dim).double()}
        for theirs, ours in (("query", "query"), ("key", "keys"), ("value", own)):
            if ours:
                state |= {f"lin_{theirs}.weight": p[f"{ours}_weight"].T, f"lin_{theirs}.bias": p[f"{ours}_bias"]}
        inputs: Case = {"nodes": draw(sizes[0], dim), "edge_index": self.edges(*sizes)}
        nodes, edges = tensor(inputs["nodes"]), torch.from_numpy(inputs["edge_index"])
        if loops:
            edges, _ = add_self_loops(remove_self_loops(edges)[0], num_nodes=sizes[0])
        how = {"return_attention_weights": True}
        gathered, (_, weights) = torch.func.functional_call(layer, state, (nodes, edges), how)
        output = linear(gathered, p["output_weight"].T, p["output_bias"])
        if mechanism == "gin":
            summed = (1 + p["eps"]) * nodes + gathered
            hidden = torch.relu(linear(summed, p["hidden_weight"].T, p["hidden_bias"]))
            output = linear(hidden, p["output_weight"].T, p["output_bias"])
        if mechanism == "sage":
            output = output + linear(nodes, p["self_weight"].T)
        expected = {"output": output} | ({} if loops else {"attention_weights": weights})
        config = {"dim": dim, "num_heads": heads, "add_self_loops": loops}
        maker.add(mechanism, name, config, inputs, expected, SOURCE_DOT, parameters=parameters)

    # --- additions to the scores

    def _triple(self, dim: int, n_query: int = 5, n_key: int = 9) -> Case:
        draw = self.maker.draw
        return {"query": draw(n_query, dim), "keys": draw(n_key, dim), "values": draw(n_key, 3)}

    def graph_rope(self, interleaved: bool, *, dim: int, base: float = 10_000.0, scaling: float = 1.0) -> None:
        """Pairs of channels as complex numbers, turned by multiplication."""
        maker, torch = self.maker, self.maker.torch
        inputs, pairs = self._triple(dim), dim // 2
        options = {"query_positions": maker.draw(5, size=9), "key_positions": maker.draw(9, size=9)}

        def turned(x: Any, positions: Any) -> Any:
            head, rest = maker.tensor(x)[:, : 2 * pairs], maker.tensor(x)[:, 2 * pairs :]
            split = head.unflatten(-1, (pairs, 2)) if interleaved else head.unflatten(-1, (2, pairs)).transpose(-1, -2)
            z = torch.view_as_complex(split.contiguous())
            angles = (
                maker.tensor(positions)[:, None] / scaling / base ** (torch.arange(pairs).double() * 2 / (2 * pairs))
            )
            split = torch.view_as_real(z * torch.polar(torch.ones_like(angles), angles))
            split = split if interleaved else split.transpose(-1, -2)
            return torch.cat([split.flatten(-2), rest], dim=-1)

        query = turned(inputs["query"], options["query_positions"])
        keys = turned(inputs["keys"], options["key_positions"])
        expected = maker.attend(query, keys, inputs["values"], dim**-0.5)
        config: Case = {"dim": dim, "interleaved": interleaved, "base": base, "scaling": scaling}
        name = f"dim-{dim}-{'interleaved' if interleaved else 'halves'}"
        maker.add("graph_rope", name, config, inputs, expected, SOURCE_FORMULA, options)

    def hnsw_aware(self, name: str, *, distance: bool) -> None:
        maker, torch = self.maker, self.maker.torch
        inputs, layers = self._triple(6), maker.random.integers(0, 4, 9)
        parameters: Case = {"layer_bias": maker.draw(4)}
        addend = maker.tensor(parameters["layer_bias"])[torch.from_numpy(layers)].expand(5, 9)
        if distance:
            parameters["distance_weight"] = maker.draw(1)
            gaps = torch.cdist(maker.tensor(inputs["query"]), maker.tensor(inputs["keys"]))
            addend = addend - maker.tensor(parameters["distance_weight"]) * gaps
        expected = maker.attend(inputs["query"], inputs["keys"], inputs["values"], 6**-0.5, addend)
        config = {"dim": 6, "num_layers": 4, "distance": distance}
        source = SOURCE_FORMULA
        maker.add("hnsw_aware", name, config, inputs, expected, source, {"layers": layers}, parameters)

    def temporal(self, encoding: str, *, causal: bool) -> None:
        maker, torch, np = self.maker, self.maker.torch, self.maker.np
        inputs = self._triple(6)
        options = {name: np.sort(maker.draw(n, size=4)) for name, n in (("query_times", 5), ("key_times", 9))}
        of_query, of_keys = (maker.tensor(times) for times in options.values())
        query, keys, addend = maker.tensor(inputs["query"]), maker.tensor(inputs["keys"]), torch.zeros(5, 9).double()
        if encoding == "decay":
            parameters = {"decay": maker.draw(1), "log_theta": maker.draw(1)}
            decay, log_theta = (maker.tensor(value) for value in parameters.values())
            addend = decay * torch.exp(-(of_query[:, None] - of_keys).abs() / log_theta.exp())
        else:
            parameters = {f"time_{name}": maker.draw(4) for name in ("frequency", "phase")}
            parameters |= {f"time_{name}_weight": maker.draw(4, 6, size=0.5) for name in ("query", "keys")}
            frequency, phase, of_queries, of_rows = (maker.tensor(value) for value in parameters.values())

            def waves(times: Any) -> Any:
                angles = (times - of_keys[0])[:, None] * frequency + phase
                return torch.cat([angles[:, :1], angles[:, 1:].sin()], dim=1)

            query, keys = query + waves(of_query) @ of_queries, keys + waves(of_keys) @ of_rows
        if causal:
            addend = torch.where(of_keys <= of_query[:, None], addend, -torch.inf)
        expected = maker.attend(query, keys, inputs["values"], 6**-0.5, addend)
        config: Case = {"dim": 6, "encoding": encoding, "causal": causal}
        config |= {"time_dim": 4} if encoding == "time2vec" else {}
        name = encoding + ("-causal" if causal else "")
        maker.add("temporal", name, config, inputs, expected, SOURCE_FORMULA, options, parameters)

    def heads(self, heads: int = 2, dim: int = 8) -> None:
        """The same additions where groups of channels attend apart, each a batch item of torch's."""
        maker, torch, np = self.maker, self.maker.torch, self.maker.np
        maker.random = np.random.default_rng(20170613)  # so that these move no other case

        def split(x: Any) -> Any:
            return maker.tensor(x).unflatten(-1, (heads, -1)).transpose(0, 1)

        def added(mechanism: str, config: Case, inputs: Case, options: Case, parameters: Case, addend: Any) -> None:
            query, keys, values = (split(array) for array in inputs.values())
            if mechanism == "graph_rope":
                query, keys = (self._turned(x, at) for x, at in zip((query, keys), options.values(), strict=True))
            expected = maker.attend(query, keys, values, (dim // heads) ** -0.5, addend)
            expected["output"] = expected["output"].transpose(0, 1).flatten(-2)
            config = {"dim": dim, "num_heads": heads, **config}
            maker.add(mechanism, "heads", config, inputs, expected, SOURCE_FORMULA, options, parameters)

        def drawn() -> Case:
            return {"query": maker.draw(5, dim), "keys": maker.draw(9, dim), "values": maker.draw(9, 2 * heads)}

        positions = {"query_positions": maker.draw(5, size=9), "key_positions": maker.draw(9, size=9)}
        added("graph_rope", {}, drawn(), positions, {}, None)
        layers, parameters = maker.random.integers(0, 4, 9), {"layer_bias": maker.draw(heads, 4)}
        of_layers = maker.tensor(parameters["layer_bias"])[:, None, torch.from_numpy(layers)]
        added("hnsw_aware", {"num_layers": 4}, drawn(), {"layers": layers}, parameters, of_layers)
        times = {name: np.sort(maker.draw(n, size=4)) for name, n in (("query_times", 5), ("key_times", 9))}
        parameters = {"decay": maker.draw(1), "log_theta": maker.draw(1)}
        (at, of_keys), (decay, log_theta) = (map(maker.tensor, x.values()) for x in (times, parameters))
        fading = decay * torch.exp(-(at[:, None] - of_keys).abs() / log_theta.exp())
        fading = torch.where(of_keys <= at[:, None], fading, -torch.inf)
        added("temporal", {}, drawn(), times, parameters, fading)

    def _turned(self, x: Any, positions: Any, base: float = 10_000.0) -> Any:
        """Halves of the channels of rows (heads, n, channels) as real and imaginary parts, turned by multiplication."""
        maker, torch, pairs = self.maker, self.maker.torch, x.shape[-1] // 2
        angles = maker.tensor(positions)[:, None] / base ** (torch.arange(pairs).double() / pairs)
        turned = torch.complex(*x.split(pairs, -1)) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([turned.real, turned.imag], dim=-1)

    # --- sums of the above

    def _along(self, query: Any, keys: Any, values: Any, edges: Any, heads: int, bias: Any = None) -> Any:
        """Dense attention with a mask of edges, head by head; there are no parallel edges."""
        torch, n_node = self.maker.torch, query.shape[0]
        addend = torch.full((heads, n_node, n_node), -torch.inf).double()
        addend[:, edges[1], edges[0]] = 0.0 if bias is None else bias.T
        q, k, v = (x.reshape(n_node, heads, -1).transpose(0, 1) for x in (query, keys, values))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=addend).transpose(0, 1).flatten(1)

    def _simple_edges(self, n_node: int, n_edges: int) -> Any:
        """Without parallel edges, and with one from every node to itself."""
        np = self.maker.np
        drawn = np.concatenate([self.edges(n_node, n_edges), np.tile(np.arange(n_node), (2, 1))], axis=1)
        return np.unique(drawn, axis=1)

    def _linear(self, parameters: Case, name: str, x: Any) -> Any:
        tensor = self.maker.tensor
        weight, bias = tensor(parameters[f"{name}_weight"]), tensor(parameters[f"{name}_bias"])
        return self.maker.torch.nn.functional.linear(x, weight.T, bias)

    def _maps(self, maps: dict[str, tuple[int, int]]) -> Case:
        parameters: Case = {}
        for name, (fan_in, fan_out) in maps.items():
            parameters[f"{name}_weight"] = self.maker.draw(fan_in, fan_out, size=fan_in**-0.5)
            parameters[f"{name}_bias"] = self.maker.draw(fan_out, size=0.3)
        return parameters

    def structural(self) -> None:
        maker, torch = self.maker, self.maker.torch
        parameters = self._maps(dict.fromkeys(("query", "keys", "values", "output"), (6, 6)))
        parameters["edge_weight"] = maker.draw(6, 2)
        edges = self._simple_edges(9, 30)
        inputs: Case = {"nodes": maker.draw(9, 6), "edge_index": edges, "features": maker.draw(9, 3)}
        nodes, features = maker.tensor(inputs["nodes"]), maker.tensor(inputs["features"])
        pairs = torch.cat([features[edges[0]], features[edges[0]] * features[edges[1]]], dim=1)
        query, keys, values = (self._linear(parameters, name, nodes) for name in ("query", "keys", "values"))
        gathered = self._along(query, keys, values, edges, 2, pairs @ maker.tensor(parameters["edge_weight"]))
        expected = {"output": self._linear(parameters, "output", gathered)}
        config = {"dim": 6, "num_heads": 2, "num_features": 3, "add_self_loops": False}
        maker.add("structural", "plain", config, inputs, expected, SOURCE_FORMULA, parameters=parameters)

    def cross_space(self) -> None:
        maker, torch = self.maker, self.maker.torch
        roles = ("query", "keys", "values")
        maps = {f"{space}_{role}": (6, 6) for space in ("graph", "latent") for role in roles}
        parameters = self._maps({**maps, "cross_query": (6, 6), "gate": (18, 3), "output": (6, 6)})
        inputs: Case = {"nodes": maker.draw(9, 6)}
        inputs |= {"edge_index": self._simple_edges(9, 20), "latent_index": self._simple_edges(9, 25)}
        nodes = maker.tensor(inputs["nodes"])
        mapped = {name: self._linear(parameters, name, nodes) for name in maps}
        graph, latent = ([mapped[f"{space}_{role}"] for role in roles] for space in ("graph", "latent"))
        g = self._along(graph[0], graph[1], graph[2], inputs["edge_index"], 2)
        near = self._along(latent[0], latent[1], latent[2], inputs["latent_index"], 2)
        asked = self._linear(parameters, "cross_query", g)
        x = self._along(asked, latent[1], latent[2], inputs["latent_index"], 2)
        gates = self._linear(parameters, "gate", torch.cat([g, near, x], dim=1)).softmax(-1)
        fused = (gates[:, :, None] * torch.stack([g, near, x], dim=1)).sum(1)
        expected = {"output": self._linear(parameters, "output", fused)}
        config = {"dim": 6, "num_heads": 2}
        maker.add("cross_space", "plain", config, inputs, expected, SOURCE_FORMULA, parameters=parameters)

    def hierarchical(self) -> None:
        maker, torch = self.maker, self.maker.torch
        parameters = self._maps({"item": (5, 5), "summary": (5, 5)})
        parameters |= {"item_context": maker.draw(5), "summary_context": maker.draw(5)}
        levels = maker.np.array([1, 0, 2, 1, 1, 2, 0, 1])
        inputs: Case = {"items": maker.draw(8, 5), "levels": levels}
        items = maker.tensor(inputs["items"])

        def pooled(name: str, rows: Any) -> tuple[Any, Any]:
            scores = self._linear(parameters, name, rows).tanh() @ maker.tensor(parameters[f"{name}_context"])
            return scores.softmax(0) @ rows, scores.softmax(0)

        found = [pooled("item", items[levels == level]) for level in range(3)]
        summaries = torch.stack([summary for summary, _ in found])
        output, of_levels = pooled("summary", summaries)
        weights = torch.empty(8).double()
        for level in range(3):
            weights[levels == level] = found[level][1] * of_levels[level]
        expected = {"output": output, "attention_weights": weights}
        maker.add("hierarchical", "learned", {"dim": 5}, inputs, expected, SOURCE_TORCH, parameters=parameters)
        given = maker.np.array([0.5, 0.25, 0.25], maker.np.float32)
        expected = {"output": maker.tensor(given) @ summaries}
        options = {"level_weights": given}
        maker.add("hierarchical", "given", {"dim": 5}, inputs, expected, SOURCE_TORCH, options, parameters)
