"""Spaces that are odd in one way each, for laws that hold of every space."""

from support import network

ODD = {
    "several inputs and outputs": """
        motif both(a, b) -> (c, d) {
            a ~> c : conv(3) | skip
            {a, b} -> d : conv(1)
        }
        network net(x: [4, 8, 8], z: [4, 8, 8]) -> (y: [4, 8, 8], v: [3]) {
            y, d = both(z, x)
            d -> v : global_avg_pool >> linear(3)
        }""",
    "outputs in another order than inputs": """
        motif swap(a, b) -> (c, d) { b -> c; a -> d }
        network net(x: [4, 8, 8], z: [4, 8, 8]) -> (y: [4, 8, 8], v: [4, 8, 8]) {
            p, q = swap(x, z)
            r, s = swap(p, q)
            y = r : relu
            v = sum(s, x)
        }""",
    "product and concat": network("""
        a = product()
        {x, x} ~> a : conv(3) | sigmoid
        b = concat(a, x, a)
        b -> y : conv(1, 4)"""),
    "concat of searched and fixed": network("""
        a = concat(x)
        x ~> a : conv(3, 2) | conv(1, 2)
        x -> a : conv(1, 3) + conv(3, 3)
        a -> y : conv(1, 4)"""),
    "product of parallel operations": network("""
        y = product(x)
        x -> y : conv(1) + skip
        x -> y : relu"""),
    "parallel operations of long names": """
        op quite_a_long_name_of_an_operation(kernel) = conv(kernel) >> bn
        op another_long_name_of_an_operation(kernel) = bn >> conv(kernel)
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {
            x -> y : quite_a_long_name_of_an_operation(3) + another_long_name_of_an_operation(3)
                   + quite_a_long_name_of_an_operation(1) + skip
        }""",
    "parallel operations of long names in a concat": """
        op quite_a_long_name_of_an_operation(kernel) = conv(kernel) >> bn
        op another_long_name_of_an_operation(kernel) = bn >> conv(kernel)
        network net(x: [4, 8, 8]) -> (y: [8, 8, 8]) {
            y = concat(x)
            x -> y : quite_a_long_name_of_an_operation(3) + another_long_name_of_an_operation(3)
                   + quite_a_long_name_of_an_operation(1) + skip
        }""",
    "parallel operations within an operation": """
        op both(kernel) = relu >> (conv(kernel) >> bn + (skip + conv(1))) >> conv(1, 4)
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {
            a = x : both(3)
            a ~> y : both(1) | conv(1) + conv(3) | skip
        }""",
    "nested motifs": """
        motif leaf(a; width) -> (out) { a ~> out : conv(3, width) | conv(1, width) }
        motif inner(a; width) -> (out) {
            p = leaf(a; width = width)
            q = leaf(p; width = 2 * width)
            q ~> out : conv(1) | skip
        }
        motif outer(a) -> (out) {
            a ~> b : conv(3) | skip
            node b
            c = inner(b; width = 3)
            d = inner(c; width = 4)
            out = concat(c, d)
        }
        network net(x: [4, 8, 8]) -> (y: [14, 8, 8]) { y = outer(x) }""",
    "untied chain that reduces": """
        motif cell(a, b; width, stride = 1, lag = 1) -> (out) {
            p = a : conv(1, width, stride * lag)
            q = b : conv(1, width, stride)
            {p, q} ~> out : conv(3) | max_pool(3) | skip
        }
        network net(x: [4, 8, 8]) -> (y: [3]) {
            body = chain cell(x, x; width = 2) times 4 reduce at 1, 3
            body -> y : flatten >> linear(3, bias = 0)
        }""",
    "an output that is an input": """
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8], v: [4, 8, 8]) { x -> y; x -> v : relu }""",
    "one gate": network("x ~> y : conv(3)"),
    "the same choice twice on one edge": network("x ~> y : conv(3) | conv(3)\nx ~> y : conv(3)"),
    "maps of rank one": """
        choice ops = conv(3) >> bn | depthwise_conv(5, 1, 2) >> bn | max_pool(3) | avg_pool(5)
        motif cell(a; width, stride = 1, lag = 1) -> (out) {
            b = a : conv(1, width, stride)
            node h[2]
            for k in 0..2 { {b, h[..k]} ~> h[k] : ops }
            out = concat(b, h)
        }
        network net(x: [3, 11]) -> (y: [4]) {
            body = tied chain cell(x; width = 2) times 2 reduce at 1
            p = body : upsample(2) >> pad_channels(14) >> (skip + conv(1))
            p -> y : global_avg_pool >> bn >> hard_swish >> dropout(10) >> linear(4)
        }""",
    "vectors": """
        motif layer(a; width) -> (out) {
            b = a : linear(width) >> bn
            b ~> c : relu | leaky_relu | linear(width) >> bn(affine = 0) | skip
            node c
            out = concat(a, c)
        }
        network net(x: [5]) -> (y: [3]) {
            p = layer(x; width = 4)
            q = layer(p; width = 6)
            q -> y : linear(3)
        }""",
    "one operation at every rank": """
        op norm = bn >> relu
        op same(kernel) = conv(kernel) >> bn
        motif m(a) -> (out) { a ~> out : norm | skip }
        network net(x: [3, 8, 8], t: [3, 8], v: [3]) -> (y: [9]) {
            p = m(x)
            q = m(t)
            r = m(v)
            p2 = p : same(3) >> global_avg_pool
            q2 = q : same(3) >> global_avg_pool
            y = concat(p2, q2, r)
        }""",
    "inverted bottlenecks": """
        op mbconv(kernel, ratio, width = 4, stride = 1) = conv(1, expand = ratio) >> bn >> relu6
            >> depthwise_conv(kernel, stride) >> bn >> relu6 >> conv(1, width) >> bn
        network net(x: [4, 8, 8]) -> (y: [6, 4, 4]) {
            p = x : mbconv(3, 1)
            p ~> q : mbconv(3, 3) | mbconv(5, 6) | skip
            node q
            q -> y : mbconv(3, 2, 6, 2)
        }""",
    "channels of zeros": network("""
        a = x : pad_channels(7)
        b = a : pad_channels(7) + pad_channels(7) >> relu
        b -> y : conv(1, 4)"""),
    "every primitive": network(
        """a = x : conv(3, 6, 2, 1, 2, 1) >> relu6 >> depthwise_conv(3, 1, 2) >> upsample(2)
        b = a : silu >> avg_pool(3) >> gelu >> max_pool(5) >> tanh >> dropout(30)
        c = b : factorized_reduce(8) >> sigmoid >> bn(affine = 0) >> bn >> avg_pool(5, 2)
        c -> y : global_avg_pool >> linear(3) >> linear(2, 0) >> relu"""
    ).replace("y: [4, 8, 8]", "y: [2]"),
    "blocks of images": """
        op norms =
            layer_norm >> group_norm(2, affine = 0) >> layer_norm(affine = 0) >> group_norm(1)
        op strip(length) =
            depthwise_conv(length, 2, bias = 1, kernel_width = 1) >> conv(1, 6, kernel_width = 3)
        network net(x: [4, 7, 9]) -> (y: [4, 7, 9], z: [2, 14, 27]) {
            a = x : norms >> layer_scale(2)
            node b
            a ~> b : strip(3) >> resize(7, 9) >> chunk(1, 3) | chunk(0) >> layer_norm
            c = a : strip(5) >> transposed_conv(4, 4) >> channel_shuffle(2)
                >> resize(7, 9, smooth = 0)
            v = x : global_avg_pool >> layer_norm >> group_norm(2) >> layer_scale
            y = product(v, c, x, v)
            b -> z : transposed_conv(2, 3, bias = 1) >> resize(14, 27) >> transposed_conv(3, 2, 1)
        }""",
    "blocks of series": """
        network net(x: [4, 9]) -> (y: [4, 9]) {
            a = x : conv(3, 6, causal = 1, dilation = 2) >> channel_shuffle(3) >> group_norm(3)
            b = a : depthwise_conv(4, 2, causal = 1) >> layer_norm >> layer_scale >> resize(9)
            c = b : transposed_conv(5, 4, 3) >> resize(9, smooth = 0) >> chunk(1) >> conv(1, 4)
            v = c : global_avg_pool >> chunk(0) >> linear(4)
            node h
            v ~> h : sigmoid | skip
            y = product(h, c)
        }""",
    "tokens": """
        network net(x: [4, 8, 6], s: [5]) -> (y: [4, 4, 3], z: [6, 5]) {
            a = x : conv(2, 6, 2, bias = 1) >> position >> layer_norm
            a ~> y : attention(2, 4) | attention(1, 4, keys = 4, values = 3, bias = 0)
            b = s : relu >> embedding(5, 6)
            b -> z : position(5) >> attention(3, causal = 1) >> conv(1)
        }""",
    "shared modules": """
        motif inner(a) -> (b) { a ~> b : conv(3) >> bn | skip }
        motif tower(a, c) -> (d, e) {
            p = shared inner(a)
            q = shared inner(c)
            d = sum(p, q)
            q ~> e : conv(1) | relu
        }
        motif both(u, v) -> (w) {
            p, q = tower(u, v)
            w = sum(p, q)
        }
        network net(x: [4, 8, 8], z: [4, 8, 8], s: [4, 6, 6]) -> (y: [4, 8, 8], t: [4, 6, 6]) {
            a, b = shared tower(x, z)
            c, d = shared tower(z, a)
            e, f = shared tower(s, s)
            g = shared both(a, c)
            h = shared both(b, d)
            y = sum(g, h)
            t = sum(e, f)
        }""",
    "shared chains": """
        motif step(a, b; width) -> (c) {
            d = a : conv(1, width)
            {d, b} ~> c : conv(3, width) >> bn | skip
        }
        motif plain(a) -> (b) { a -> b : conv(3) >> relu }
        network net(x: [4, 8, 8]) -> (y: [4, 8, 8]) {
            body = shared chain step(x, x; width = 4) times 4
            tail = shared chain plain(body) times 3
            again = shared plain(tail)
            y = sum(again, body[1])
        }""",
    "recurrence": """
        motif step(x, before; width) -> (after) {
            z = concat(before, x, before)
            node h
            z ~> h : highway(1) | highway(2) | highway | highway(3)
            after = h : complement
        }
        network net(s: [4, 3]) -> (y: [4, 4]) {
            node x[3], h[4]
            h[0] = s : zeros
            for t in 0..3 {
                x[t] = s : pick(t)
                h[t + 1] = shared step(x[t], h[t]; width = 4)
            }
            all = concat(h)
            all -> y : series(4)
        }""",
    "scans": """
        motif word(a, b) -> (c, d) {
            e = a : series(2)
            f = scan sound(e; width = 2) from b
            g = f : pick(1)
            d = sum(g, b)
            wide = d : linear(4)
            c = product(wide, a)
        }
        motif sound(a, b; width) -> (c) {
            d = concat(a, b)
            node h
            d ~> h : linear(width) >> tanh | linear(width)
            c = h : linear(1)
        }
        motif step(x, m, h, k; width) -> (q, i, o) {
            z = concat(x, h, m)
            i = k : sigmoid
            z ~> o : linear(width) >> bn | linear(width) >> relu
            {h, o} ~> q : skip | linear(width)
            retain 1 into q
        }
        network net(s: [4, 3], t: [4, 3]) -> (y: [4, 3], z: [4], r: [4, 3]) {
            zero = s : zeros(1)
            mean = t : global_avg_pool
            p, _p = scan word(s) from zero
            q, _i, o = shared scan step(s, mean; width = 4) from mean, mean
            w, i, _o = shared scan step(q, mean; width = 4) from mean, mean
            y = sum(p, w)
            r = sum(o, t)
            i -> z : pick(2)
        }""",
}
