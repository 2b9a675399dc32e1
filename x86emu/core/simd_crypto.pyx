# cython: language_level=3
# AES (SDM 1, 12.13; FIPS 197), PCLMULQDQ, SHA-1 and SHA-256 (SDM 2B, SHA...; FIPS 180-4), GFNI,
# SSE4A (AMD APM 4); with VEX too where there is such a form.
# The AES state is column by column: byte 4c + r is row r of column c.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport *
from x86emu.core.avx cimport *

cdef extern from * nogil:
    int __builtin_parity(unsigned int)

# ----- AES -----
cdef uint8_t sbox[256]
cdef uint8_t inverse_sbox[256]
# A column's contribution of one byte after SubBytes and MixColumns, for row 0; other rows are rotations of it.
cdef uint32_t encrypt_table[256]
cdef uint32_t decrypt_table[256]         # the same for the inverses
cdef uint32_t inverse_mix_table[256]     # InvMixColumns alone

cdef inline uint32_t rotate_left(uint32_t v, int n) noexcept nogil:
    return v << n | v >> (32 - n) if n else v

cdef inline uint32_t rotate_right(uint32_t v, int n) noexcept nogil:
    return v >> n | v << (32 - n)

cdef uint8_t field_multiply(uint32_t a, uint32_t b) noexcept nogil:
    """In GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    cdef uint32_t r = 0
    while b:
        if b & 1:
            r ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return <uint8_t>r

cdef uint32_t column_of(uint32_t v, int m0, int m1, int m2, int m3) noexcept nogil:
    return (field_multiply(v, m0) | <uint32_t>field_multiply(v, m1) << 8 | <uint32_t>field_multiply(v, m2) << 16
            | <uint32_t>field_multiply(v, m3) << 24)

cdef void make_tables() noexcept nogil:
    cdef uint32_t k, m, inverse
    for k in range(256):
        inverse = 0
        for m in range(256):
            if field_multiply(k, m) == 1:
                inverse = m
        m = inverse | inverse << 8
        sbox[k] = <uint8_t>(inverse ^ m >> 4 ^ m >> 5 ^ m >> 6 ^ m >> 7 ^ 0x63)
    for k in range(256):
        inverse_sbox[sbox[k]] = <uint8_t>k
    for k in range(256):
        encrypt_table[k] = column_of(sbox[k], 2, 1, 1, 3)
        inverse_mix_table[k] = column_of(k, 14, 9, 13, 11)
    for k in range(256):
        decrypt_table[k] = inverse_mix_table[inverse_sbox[k]]

make_tables()

cdef inline void aes_round(uint8_t* d, uint8_t* key, uint32_t* table, int step) noexcept nogil:
    """Row r of column c comes from column c + r * step (ShiftRows: 1, InvShiftRows: 3, modulo 4)."""
    cdef uint32_t r[4]
    cdef int k
    for k in range(4):
        r[k] = (table[d[4 * k]] ^ rotate_left(table[d[4 * (k + step & 3) + 1]], 8)
                ^ rotate_left(table[d[4 * (k + 2 * step & 3) + 2]], 16)
                ^ rotate_left(table[d[4 * (k + 3 * step & 3) + 3]], 24) ^ (<uint32_t*>key)[k])
    memcpy(d, r, 16)

cdef inline void aes_last(uint8_t* d, uint8_t* key, uint8_t* box, int step) noexcept nogil:
    cdef uint8_t r[16]
    cdef int k, row
    for k in range(4):
        for row in range(4):
            r[4 * k + row] = box[d[4 * (k + row * step & 3) + row]] ^ key[4 * k + row]
    memcpy(d, r, 16)

cdef void AESENC_V_V(Cpu* c, Insn* i) noexcept nogil:
    aes_round(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), encrypt_table, 1)
    chain(c, i)

cdef void AESDEC_V_V(Cpu* c, Insn* i) noexcept nogil:
    aes_round(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), decrypt_table, 3)
    chain(c, i)

cdef void AESENCLAST_V_V(Cpu* c, Insn* i) noexcept nogil:
    aes_last(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), sbox, 1)
    chain(c, i)

cdef void AESDECLAST_V_V(Cpu* c, Insn* i) noexcept nogil:
    aes_last(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), inverse_sbox, 3)
    chain(c, i)

cdef inline uint32_t inverse_mix(uint32_t v) noexcept nogil:
    return (inverse_mix_table[v & 0xFF] ^ rotate_left(inverse_mix_table[v >> 8 & 0xFF], 8)
            ^ rotate_left(inverse_mix_table[v >> 16 & 0xFF], 16) ^ rotate_left(inverse_mix_table[v >> 24], 24))

cdef void AESIMC_V_V(Cpu* c, Insn* i) noexcept nogil:
    cdef int k
    for k in range(4):
        (<uint32_t*>xmm(c, i.dst))[k] = inverse_mix((<uint32_t*>xmm(c, i.src))[k])
    chain(c, i)

cdef inline uint32_t substitute_word(uint32_t v) noexcept nogil:
    return (sbox[v & 0xFF] | <uint32_t>sbox[v >> 8 & 0xFF] << 8 | <uint32_t>sbox[v >> 16 & 0xFF] << 16
            | <uint32_t>sbox[v >> 24] << 24)

cdef inline void assist_key_generation(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t one = substitute_word(<uint32_t>(c.vec[i.src].q[0] >> 32))
    cdef uint32_t three = substitute_word(<uint32_t>(c.vec[i.src].q[1] >> 32))
    c.vec[i.dst].q[0] = one | <uint64_t>(rotate_right(one, 8) ^ <uint8_t>i.imm) << 32
    c.vec[i.dst].q[1] = three | <uint64_t>(rotate_right(three, 8) ^ <uint8_t>i.imm) << 32

cdef void AESKEYGENASSIST_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    assist_key_generation(c, i)
    chain(c, i)

# ----- PCLMULQDQ -----
cdef void carryless_multiply(uint64_t* d, uint64_t* s, uint32_t control) noexcept nogil:
    cdef uint64_t a = d[control & 1]
    cdef uint64_t b = s[control >> 4 & 1]
    cdef uint64_t low = 0
    cdef uint64_t high = 0
    cdef int k
    if b & 1:
        low = a
    for k in range(1, 64):
        if b >> k & 1:
            low ^= a << k
            high ^= a >> (64 - k)
    d[0] = low
    d[1] = high

cdef void PCLMULQDQ_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    carryless_multiply(<uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), <uint32_t>i.imm)
    chain(c, i)

# ----- GFNI (SDM 2A, GF2P8...) -----
cdef uint8_t inverses[256]

cdef void make_inverses() noexcept nogil:
    cdef uint32_t k, m
    inverses[0] = 0
    for k in range(1, 256):
        for m in range(1, 256):
            if field_multiply(k, m) == 1:
                inverses[k] = <uint8_t>m

make_inverses()

cdef inline void multiply_bytes(uint8_t* d, uint8_t* s) noexcept nogil:
    cdef int k
    for k in range(16):
        d[k] = field_multiply(d[k], s[k])

cdef inline void affine_bytes(uint8_t* d, uint8_t* matrices, uint32_t constant, bint inverse) noexcept nogil:
    """Bit n of a result is the parity of the byte and row 7 - n of its quadword's matrix, plus bit n of the constant."""
    cdef int k, n
    cdef uint32_t v, r, row
    for k in range(16):
        v = inverses[d[k]] if inverse else d[k]
        r = constant
        for n in range(8):
            row = matrices[(k & 8) + 7 - n] & v
            r ^= <uint32_t>__builtin_parity(row) << n
        d[k] = <uint8_t>r

cdef void GF2P8MULB_V_V(Cpu* c, Insn* i) noexcept nogil:
    multiply_bytes(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src))
    chain(c, i)

cdef void GF2P8AFFINEQB_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    memcpy(xmm(c, SCRATCH), xmm(c, i.dst), 16)
    affine_bytes(<uint8_t*>xmm(c, SCRATCH), <uint8_t*>xmm(c, i.src), <uint8_t>i.imm, 0)
    memcpy(xmm(c, i.dst), xmm(c, SCRATCH), 16)
    chain(c, i)

cdef void GF2P8AFFINEINVQB_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    memcpy(xmm(c, SCRATCH), xmm(c, i.dst), 16)
    affine_bytes(<uint8_t*>xmm(c, SCRATCH), <uint8_t*>xmm(c, i.src), <uint8_t>i.imm, 1)
    memcpy(xmm(c, i.dst), xmm(c, SCRATCH), 16)
    chain(c, i)

# ----- the same with VEX, and AESIMC and AESKEYGENASSIST -----
include "avx_crypto.pxi"

cdef void VAESIMC_V_V(Cpu* c, Insn* i) noexcept nogil:
    cdef int k
    for k in range(4):
        (<uint32_t*>xmm(c, SCRATCH))[k] = inverse_mix((<uint32_t*>xmm(c, i.src))[k])
    end_128(c, i.dst)
    chain(c, i)

cdef void VAESKEYGENASSIST_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    assist_key_generation(c, i)
    clear_upper(c, i.dst)
    chain(c, i)

# ----- SHA -----
cdef inline void sha1_message_1(uint32_t* d, uint32_t* s) noexcept nogil:
    cdef uint32_t r[4]
    r[3] = d[1] ^ d[3]
    r[2] = d[0] ^ d[2]
    r[1] = s[3] ^ d[1]
    r[0] = s[2] ^ d[0]
    memcpy(d, r, 16)

cdef inline void sha1_message_2(uint32_t* d, uint32_t* s) noexcept nogil:
    cdef uint32_t r[4]
    r[3] = rotate_left(d[3] ^ s[2], 1)
    r[2] = rotate_left(d[2] ^ s[1], 1)
    r[1] = rotate_left(d[1] ^ s[0], 1)
    r[0] = rotate_left(d[0] ^ r[3], 1)
    memcpy(d, r, 16)

cdef void sha1_rounds(uint32_t* state, uint32_t* words, int function) noexcept nogil:
    """Four rounds; A is element 3 of the state, the words (E added to the first) come from element 3 down."""
    cdef uint32_t a = state[3]
    cdef uint32_t b = state[2]
    cdef uint32_t c = state[1]
    cdef uint32_t d = state[0]
    cdef uint32_t e = 0
    cdef uint32_t f, t, constant
    cdef int k
    for k in range(4):
        if function == 0:
            f = (b & c) ^ (~b & d)
            constant = 0x5A827999
        elif function == 2:
            f = (b & c) ^ (b & d) ^ (c & d)
            constant = 0x8F1BBCDCU
        else:
            f = b ^ c ^ d
            constant = 0x6ED9EBA1 if function == 1 else 0xCA62C1D6U
        t = f + rotate_left(a, 5) + words[3 - k] + e + constant
        e = d
        d = c
        c = rotate_left(b, 30)
        b = a
        a = t
    state[3] = a
    state[2] = b
    state[1] = c
    state[0] = d

cdef inline uint32_t small_sigma_0(uint32_t v) noexcept nogil:
    return rotate_right(v, 7) ^ rotate_right(v, 18) ^ v >> 3

cdef inline uint32_t small_sigma_1(uint32_t v) noexcept nogil:
    return rotate_right(v, 17) ^ rotate_right(v, 19) ^ v >> 10

cdef inline void sha256_message_1(uint32_t* d, uint32_t* s) noexcept nogil:
    cdef uint32_t next_word = s[0]          # d and s may be the same register
    d[0] += small_sigma_0(d[1])
    d[1] += small_sigma_0(d[2])
    d[2] += small_sigma_0(d[3])
    d[3] += small_sigma_0(next_word)

cdef inline void sha256_message_2(uint32_t* d, uint32_t* s) noexcept nogil:
    cdef uint32_t r[4]
    r[0] = d[0] + small_sigma_1(s[2])
    r[1] = d[1] + small_sigma_1(s[3])
    r[2] = d[2] + small_sigma_1(r[0])
    r[3] = d[3] + small_sigma_1(r[1])
    memcpy(d, r, 16)

cdef void sha256_rounds(uint32_t* cdgh, uint32_t* abef, uint32_t* words) noexcept nogil:
    """Two rounds; the destination (C D G H from element 3 down) becomes the new A B E F."""
    cdef uint32_t a = abef[3]
    cdef uint32_t b = abef[2]
    cdef uint32_t c = cdgh[3]
    cdef uint32_t d = cdgh[2]
    cdef uint32_t e = abef[1]
    cdef uint32_t f = abef[0]
    cdef uint32_t g = cdgh[1]
    cdef uint32_t h = cdgh[0]
    cdef uint32_t t1, t2
    cdef int k
    for k in range(2):
        t1 = h + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)) + ((e & f) ^ (~e & g)) + words[k]
        t2 = (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))
        h = g
        g = f
        f = e
        e = d + t1
        d = c
        c = b
        b = a
        a = t1 + t2
    cdgh[3] = a
    cdgh[2] = b
    cdgh[1] = e
    cdgh[0] = f

cdef void SHA1MSG1_V_V(Cpu* c, Insn* i) noexcept nogil:
    sha1_message_1(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src))
    chain(c, i)

cdef void SHA1MSG2_V_V(Cpu* c, Insn* i) noexcept nogil:
    sha1_message_2(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src))
    chain(c, i)

cdef void SHA1NEXTE_V_V(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t e = rotate_left((<uint32_t*>xmm(c, i.dst))[3], 30)
    cdef uint32_t w = (<uint32_t*>xmm(c, i.src))[3] + e
    memcpy(xmm(c, i.dst), xmm(c, i.src), 16)
    (<uint32_t*>xmm(c, i.dst))[3] = w
    chain(c, i)

cdef void SHA1RNDS4_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    sha1_rounds(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), <int>i.imm & 3)
    chain(c, i)

cdef void SHA256MSG1_V_V(Cpu* c, Insn* i) noexcept nogil:
    sha256_message_1(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src))
    chain(c, i)

cdef void SHA256MSG2_V_V(Cpu* c, Insn* i) noexcept nogil:
    sha256_message_2(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src))
    chain(c, i)

cdef void SHA256RNDS2_V_V_XMM0(Cpu* c, Insn* i) noexcept nogil:
    sha256_rounds(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), <uint32_t*>xmm(c, 0))
    chain(c, i)

# ----- SSE4A: a length of 0 means 64 bits; fields that do not fit into 64 bits give undefined results.
# The upper half, undefined by the manual, becomes zero as on processors.
cdef inline uint64_t field_mask(uint32_t length) noexcept nogil:
    return ((<uint64_t>1 << (length & 63)) - 1) if length & 63 else 0xFFFFFFFFFFFFFFFFULL

cdef inline void extract_field(Cpu* c, Insn* i, uint32_t length, uint32_t index) noexcept nogil:
    c.vec[i.dst].q[0] = (c.vec[i.dst].q[0] >> (index & 63)) & field_mask(length)
    c.vec[i.dst].q[1] = 0

cdef inline void insert_field(Cpu* c, Insn* i, uint32_t length, uint32_t index) noexcept nogil:
    cdef uint64_t mask = field_mask(length) << (index & 63)
    c.vec[i.dst].q[0] = (c.vec[i.dst].q[0] & ~mask) | (c.vec[i.src].q[0] << (index & 63) & mask)
    c.vec[i.dst].q[1] = 0

cdef void EXTRQ_V_I_I(Cpu* c, Insn* i) noexcept nogil:
    extract_field(c, i, <uint32_t>i.imm, <uint32_t>i.disp)
    chain(c, i)

cdef void EXTRQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    extract_field(c, i, <uint32_t>c.vec[i.src].q[0], <uint32_t>(c.vec[i.src].q[0] >> 8))
    chain(c, i)

cdef void INSERTQ_V_V_I_I(Cpu* c, Insn* i) noexcept nogil:
    insert_field(c, i, <uint32_t>i.imm, <uint32_t>i.disp)
    chain(c, i)

cdef void INSERTQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    insert_field(c, i, <uint32_t>c.vec[i.src].q[1], <uint32_t>(c.vec[i.src].q[1] >> 8))
    chain(c, i)

include "register_simd_crypto.pxi"
