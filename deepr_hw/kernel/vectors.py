"""Row operations of the kernels as explicit vectors, which the compiler need not prove free of aliasing first.

At batch 10 to 32 a row is one or two vectors long: the checks and remainders that an automatically vectorized loop
brings along cost more than the work. Rows are 16 floats or a multiple of that; arrays are C-contiguous.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
_FLAGS = ("reassoc", "contract")


def _data(context, builder, typ, value):
    """Pointer to the first element of an array."""
    return context.make_array(typ)(context, builder, value).data


def _row(context, builder, typ, value, index):
    """Pointer to the first element of row ``index`` of a two-dimensional array, and the row's length."""
    array = context.make_array(typ)(context, builder, value)
    width = builder.extract_value(array.shape, 1)
    return builder.gep(array.data, [builder.mul(index, width)]), width


def _load(builder, pointer, index, vector):
    place = builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())
    return builder.load(place, align=4)


def _store(builder, value, pointer, index):
    place = builder.bitcast(builder.gep(pointer, [index]), value.type.as_pointer())
    builder.store(value, place, align=4)


def _splat(builder, scalar, vector):
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _fma(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=_FLAGS), c, flags=_FLAGS)


def _sum(builder, vector):
    """Sum of the lanes."""
    element = vector.type.element
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}f{32 if isinstance(element, ir.FloatType) else 64}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(element, [element, vector.type]), name)
    return builder.call(function, [ir.Constant(element, 0.0), vector], fastmath=_FLAGS)


def _vector_type(context, typ):
    return ir.VectorType(context.get_value_type(typ.dtype), LANES)


@intrinsic
def row_axpy(typingctx, y, i, w, x, j):
    """``y[i] += w * x[j]`` for rows of two-dimensional arrays; ``w`` has their element type."""

    def codegen(context, builder, signature, args):
        vector = _vector_type(context, signature.args[0])
        target, width = _row(context, builder, signature.args[0], args[0], args[1])
        source, _ = _row(context, builder, signature.args[3], args[3], args[4])
        factor = _splat(builder, args[2], vector)
        step = ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (b, _):
            value = _fma(builder, factor, _load(builder, source, b, vector), _load(builder, target, b, vector))
            _store(builder, value, target, b)
        return context.get_dummy_value()

    return types.void(y, types.intp, y.dtype, x, types.intp), codegen


@intrinsic
def row_dot(typingctx, x, i, y, j):
    """Dot product of ``x[i]`` and ``y[j]``."""

    def codegen(context, builder, signature, args):
        vector = _vector_type(context, signature.args[0])
        left, width = _row(context, builder, signature.args[0], args[0], args[1])
        right, _ = _row(context, builder, signature.args[2], args[2], args[3])
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES))
        step = ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (b, _):
            product = _fma(
                builder, _load(builder, left, b, vector), _load(builder, right, b, vector), builder.load(total)
            )
            builder.store(product, total)
        return _sum(builder, builder.load(total))

    return x.dtype(x, types.intp, y, types.intp), codegen


@intrinsic
def row_dot_axpy(typingctx, x, i, d, j, w, row):
    """Dot product of ``x[i]`` and ``d[j]``; on the way ``row[0] += w * d[j]``, so that ``d[j]`` is read once."""

    def codegen(context, builder, signature, args):
        vector = _vector_type(context, signature.args[0])
        left, width = _row(context, builder, signature.args[0], args[0], args[1])
        right, _ = _row(context, builder, signature.args[2], args[2], args[3])
        target = _data(context, builder, signature.args[5], args[5])
        factor = _splat(builder, args[4], vector)
        total = cgutils.alloca_once_value(builder, ir.Constant(vector, [0.0] * LANES))
        step = ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (b, _):
            slope = _load(builder, right, b, vector)
            builder.store(_fma(builder, _load(builder, left, b, vector), slope, builder.load(total)), total)
            _store(builder, _fma(builder, factor, slope, _load(builder, target, b, vector)), target, b)
        return _sum(builder, builder.load(total))

    return x.dtype(x, types.intp, d, types.intp, x.dtype, row), codegen


@intrinsic
def gate_row(typingctx, acc, i, row, scale, highest, factor):
    """``acc[i] = row[0] * factor`` where ``0 < acc[i] * scale <= highest``, else 0; ``row`` becomes 0."""

    def codegen(context, builder, signature, args):
        vector = _vector_type(context, signature.args[0])
        target, width = _row(context, builder, signature.args[0], args[0], args[1])
        source = _data(context, builder, signature.args[2], args[2])
        scales, tops, factors = (_splat(builder, value, vector) for value in args[3:])
        zeros, step = ir.Constant(vector, [0.0] * LANES), ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (b, _):
            y = builder.fmul(_load(builder, target, b, vector), scales)
            inside = builder.and_(builder.fcmp_ordered(">", y, zeros), builder.fcmp_ordered("<=", y, tops))
            slope = builder.fmul(_load(builder, source, b, vector), factors)
            _store(builder, builder.select(inside, slope, zeros), target, b)
            _store(builder, zeros, source, b)
        return context.get_dummy_value()

    return types.void(acc, types.intp, row, acc.dtype, acc.dtype, acc.dtype), codegen


@intrinsic
def row_any(typingctx, x, i):
    """Whether ``x[i]`` holds anything but zeros."""

    def codegen(context, builder, signature, args):
        vector = _vector_type(context, signature.args[0])
        source, width = _row(context, builder, signature.args[0], args[0], args[1])
        bit = ir.IntType(1)
        found = cgutils.alloca_once_value(builder, ir.Constant(ir.VectorType(bit, LANES), [bit(0)] * LANES))
        step = ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (b, _):
            zeros = ir.Constant(vector, [0.0] * LANES)
            differs = builder.fcmp_unordered("!=", _load(builder, source, b, vector), zeros)
            builder.store(builder.or_(builder.load(found), differs), found)
        bits = builder.bitcast(builder.load(found), ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.IntType(LANES)(0))

    return types.boolean(x, types.intp), codegen


@intrinsic
def prefetch_row(typingctx, y, i):
    """Ask for the cache lines of ``y[i]``; reads nothing."""

    def codegen(context, builder, signature, args):
        pointer, width = _row(context, builder, signature.args[0], args[0], args[1])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, word, word, word]), "llvm.prefetch.p0"
        )
        step = ir.Constant(width.type, LANES)
        with cgutils.for_range_slice(builder, ir.Constant(width.type, 0), width, step) as (b, _):
            builder.call(function, [builder.bitcast(builder.gep(pointer, [b]), byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(y, types.intp), codegen


@intrinsic
def shift(typingctx, values, first, last, by):
    """Move ``values[first:last]`` by ``by`` places; they may overlap. The place must exist."""

    def codegen(context, builder, signature, args):
        typ = signature.args[0]
        data = _data(context, builder, typ, args[0])
        source = builder.gep(data, [args[1]])
        target = builder.gep(source, [args[3]])
        size = ir.Constant(args[1].type, context.get_abi_sizeof(context.get_value_type(typ.dtype)))
        cgutils.raw_memmove(builder, target, source, builder.sub(args[2], args[1]), size)
        return context.get_dummy_value()

    return types.void(values, types.intp, types.intp, types.intp), codegen


def _transpose(builder, rows):
    """Columns of the 16 x 16 matrix whose rows are ``rows``: four rounds of interleaving halves."""
    low = [i // 2 + (LANES if i % 2 else 0) for i in range(LANES)]
    high = [i + LANES // 2 for i in low]
    word = ir.IntType(32)
    masks = [ir.Constant(ir.VectorType(word, LANES), [word(i) for i in order]) for order in (low, high)]
    for _ in range(4):
        pairs = [(rows[i], rows[i + LANES // 2]) for i in range(LANES // 2)]
        rows = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
    return rows


@intrinsic
def transpose_block(typingctx, x, order, first, count, i, act):
    """``act[i + a, first + b] = x[order[min(first + b, count - 1)], i + a]`` for a, b in 0..15; ``x`` holds bytes."""

    def codegen(context, builder, signature, args):
        x_type, order_type, act_type = signature.args[0], signature.args[1], signature.args[5]
        numbers = _data(context, builder, order_type, args[1])
        last = builder.sub(args[3], ir.Constant(args[3].type, 1))
        rows = []
        for b in range(LANES):
            place = builder.add(args[2], ir.Constant(args[2].type, b))
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
            sample = builder.load(builder.gep(numbers, [place]))
            pointer, _ = _row(context, builder, x_type, args[0], sample)
            vector = ir.VectorType(ir.IntType(8), LANES)
            rows.append(builder.load(builder.bitcast(builder.gep(pointer, [args[4]]), vector.as_pointer()), align=1))
        convert = builder.sitofp if x_type.dtype.signed else builder.uitofp
        for a, column in enumerate(_transpose(builder, rows)):
            row = builder.add(args[4], ir.Constant(args[4].type, a))
            pointer, _ = _row(context, builder, act_type, args[5], row)
            _store(builder, convert(column, _vector_type(context, act_type)), pointer, args[2])
        return context.get_dummy_value()

    return types.void(x, order, types.intp, types.intp, types.intp, act), codegen
