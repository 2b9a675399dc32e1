# cython: language_level=3
"""Linear addresses: the slow side of every memory access (Intel SDM volume 3A, chapters 4 and 5.11; AMD APM 2, 5).

Handlers hit the software TLB inline (memory_access.pxd); all else comes here: filling, page crossings, MMIO, pages with
decoded code, data breakpoints, alignment checks and faults.  The walk itself is in page_walk.pyx, the TLB's keys are in
tlb.pyx.
"""
from libc.string cimport memcpy
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.physical cimport backing, bus_load, bus_store, load_at, load_bytes_at, store_at, store_bytes_at
from x86emu.core.page_walk cimport EXECUTE, PAGE_USER, READ, WRITE, walk
from x86emu.core.alignment cimport aligned
from x86emu.core.tlb cimport CODE_KEY, KEYS_IN_GROUP, NEVER_KEY, VICTIM_MASK
from x86emu.core.tlb_entries cimport data_entry
from x86emu.core.trace cimport holds_code, invalidate_code
from x86emu.core.interrupts cimport data_breakpoints
from x86emu.core.vmx_apic cimport vmx_apic_access
from x86emu.core.avic cimport avic_store

cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFFULL
cdef enum:
    # who asks
    AS_CPL = 0               # an explicit access at the current CPL
    AS_SYSTEM = 1            # an implicit supervisor access (descriptor tables, TSS)
    AS_USER = 2
    AS_SUPERVISOR = 3

cdef inline bint is_user(Cpu* c, int who) noexcept nogil:
    if who == AS_CPL:
        return c.cpl == 3
    return who == AS_USER

cdef inline bint watched(Cpu* c, uint64_t linear) noexcept nogil:
    cdef int n
    if not c.dr[7] & 0xFF:
        return False
    for n in range(4):
        if (c.dr[7] >> (n * 2)) & 3 and (c.dr[7] >> (16 + n * 4)) & 1 and (c.dr[n] ^ linear) >> 12 == 0:
            return True
    return False

cdef inline TlbEntry* victim(Cpu* c, uint64_t linear, bint write, uint64_t tag) noexcept nogil:
    """The entry with this tag of linear's page that a fill pushed out, or NULL. Pages that take turns in one place (4 MiB
    apart, or one page as user and as supervisor) so cost no walk each time.  An access across the end of a page has the
    tag of the next, which is never in the first one's place."""
    cdef TlbEntry* v = (&c.victim_write[(linear >> PAGE_SHIFT) & VICTIM_MASK] if write
                        else &c.victim_read[(linear >> PAGE_SHIFT) & VICTIM_MASK])
    if v.tag != tag:
        return NULL
    c.victim_hits += 1
    if c.victim_hits & 3:        # two pages used in turn would otherwise both miss each time
        return v
    return put_back(c, linear, write, v)

cdef TlbEntry* put_back(Cpu* c, uint64_t linear, bint write, TlbEntry* v) noexcept nogil:
    cdef TlbEntry* t = data_entry(c, linear, write)
    cdef TlbEntry found
    found = v[0]
    v[0] = t[0]
    t[0] = found
    return t

cdef bint resolve(Cpu* c, Insn* i, uint64_t linear, int access, int who, uint64_t* physical) noexcept nogil:
    """Linear to physical for a data access within one page, with all faults; fills the TLB."""
    cdef uint32_t flags
    cdef TlbEntry* t
    cdef TlbEntry* v
    cdef uint64_t key, offset, page = linear & 0xFFFFFFFFFFFFF000ULL
    cdef bint user = is_user(c, who)
    if not walk(c, i, linear, access, user, who == AS_SYSTEM, physical, &flags):
        return False
    if c.signals.a20_masked:
        physical[0] &= ~<uint64_t>0x100000
    if unlikely(c.virt.guest_mode == GUEST_VMX):
        if (physical[0] & 0xFFFFFFFFFFFFF000ULL) == c.vmx.apic_access:
            return vmx_apic_access(c, i, linear, access, physical)
        if c.vmx.uncached:
            c.vmx.uncached = 0
            return True
    if unlikely(c.svm.avic_store):
        if access == READ:
            c.svm.avic_store = 0
        return True              # the virtual APIC's page is never in the TLB
    if who == AS_SYSTEM and flags & PAGE_USER and c.cr4 & CR4_SMAP:
        return True
    if user:
        key = c.key_user
    elif flags & PAGE_USER and c.cr4 & CR4_SMAP:
        key = c.key_super_ac
    else:
        key = c.key_super
    if watched(c, linear):
        return True
    offset = backing(c, physical[0], access == WRITE)
    if offset == NOTHING:
        return True
    if access == WRITE:
        if c.shared.memory.code_mask[offset >> 12]:
            key += CODE_KEY
        t = &c.tlb_write[(linear >> PAGE_SHIFT) & TLB_MASK]
        v = &c.victim_write[(linear >> PAGE_SHIFT) & VICTIM_MASK]
    else:
        t = &c.tlb_read[(linear >> PAGE_SHIFT) & TLB_MASK]
        v = &c.victim_read[(linear >> PAGE_SHIFT) & VICTIM_MASK]
    key |= page
    if ((t.tag - c.key_user) & 0xFFF) < KEYS_IN_GROUP and t.tag != key:
        v[0] = t[0]
    t.tag = key
    t.addend = <uint64_t>(c.shared.memory.backing + offset) - linear
    return True

cdef bint check_linear(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    """Canonical form: #SS(0) for stack references, #GP(0) otherwise."""
    if c.efer & EFER_LMA and (c.mode & MODE_CODE) == MODE_CODE64:
        if not canonical(c, ea) or not canonical(c, ea + size - 1):
            fault_code(c, i, V_SS if i != NULL and i.seg == SS else V_GP, 0)
            return False
    return True

cdef bint check_alignment(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    return size > 8 or (size & (size - 1)) != 0 or aligned(c, i, ea, size)

cdef uint8_t* second_chance(Cpu* c, uint64_t ea, uint32_t size, bint write) noexcept nogil:
    """User pages that supervisor code may touch (SMAP with AC set), and alignment-checked accesses, hit here."""
    cdef TlbEntry* t = data_entry(c, ea, write)
    cdef uint64_t page = (ea + size - 1) & 0xFFFFFFFFFFFFF000ULL
    if t.tag == (page | c.real_key):
        return <uint8_t*>(t.addend + ea)
    if c.cpl != 3 and c.rflags & FLAG_AC:
        if t.tag == (page | c.key_super_ac):
            return <uint8_t*>(t.addend + ea)
        t = victim(c, ea, write, page | c.key_super_ac)
        if t != NULL:
            return <uint8_t*>(t.addend + ea)
    t = victim(c, ea, write, page | c.real_key)
    return NULL if t == NULL else <uint8_t*>(t.addend + ea)

cdef inline uint64_t beyond(Cpu* c, uint64_t ea, uint64_t n) noexcept nogil:
    """ea + n, wrapping as the mode's data addresses do; system structures lie above 4 GiB in compatibility mode too."""
    return ea + n if ea >> 32 else (ea + n) & c.ea_mask

cdef inline uint64_t system_linear(Cpu* c, uint64_t linear) noexcept nogil:
    """Descriptor tables and the TSS have 64-bit addresses in all of IA-32e mode."""
    return linear if c.efer & EFER_LMA else linear & 0xFFFFFFFFULL

cdef inline uint64_t load_host(uint8_t* p, uint32_t size) noexcept nogil:
    cdef uint64_t v = 0
    if size == 8:
        return (<uint64_t*>p)[0]
    if size == 4:
        return (<uint32_t*>p)[0]
    if size == 2:
        return (<uint16_t*>p)[0]
    if size == 1:
        return p[0]
    memcpy(&v, p, size)
    return v

cdef inline uint64_t key_of(Cpu* c, int who) noexcept nogil:
    if who == AS_CPL:
        return c.real_key
    return c.key_user if who == AS_USER else c.key_super

cdef bint load_who(Cpu* c, Insn* i, uint64_t ea, uint32_t size, uint64_t* value, int who, int access) noexcept nogil:
    """Loads size (1 to 8) bytes; access WRITE asks for write permission as well (read-modify-write)."""
    cdef uint64_t physical, second
    cdef uint32_t first
    cdef uint64_t low
    cdef TlbEntry* t = data_entry(c, ea, access == WRITE)
    cdef uint64_t page = (ea + size - 1) & 0xFFFFFFFFFFFFF000ULL
    if t.tag == (page | key_of(c, who)) or (access == WRITE and t.tag == (page | (key_of(c, who) + CODE_KEY))):
        value[0] = load_host(<uint8_t*>(t.addend + ea), size)
        return True
    if who != AS_CPL:            # AS_CPL comes behind second_chance()
        t = victim(c, ea, access == WRITE, page | key_of(c, who))
        if t != NULL:
            value[0] = load_host(<uint8_t*>(t.addend + ea), size)
            return True
    if not check_linear(c, i, ea, size):
        return False
    c.vmx.access_size = size
    first = 4096 - <uint32_t>(ea & 0xFFF)
    if first >= size:
        if not resolve(c, i, ea, access, who, &physical):
            return False
        value[0] = load_at(c, i, physical, size)
    else:
        if not resolve(c, i, ea, access, who, &physical):
            return False
        if not resolve(c, i, beyond(c, ea, first), access, who, &second):
            return False
        low = load_bytes_at(c, i, physical, first)
        value[0] = low | (load_bytes_at(c, i, second, size - first) << (first * 8))
    if c.dr[7] & 0xFF:
        c.pending_debug |= data_breakpoints(c, ea, size, False)
    return True

cdef void store_beside_code(Cpu* c, TlbEntry* t, uint64_t ea, uint32_t size, uint64_t value) noexcept nogil:
    """A store to a page with decoded code, by its cached translation. A page whose code is all gone becomes plain again,
    but only after a while: code that is rewritten over and over would pay for the change each time."""
    cdef Memory* m = &c.shared.memory
    cdef uint64_t offset = t.addend + ea - <uint64_t>m.backing
    if size == 4:
        (<uint32_t*>(m.backing + offset))[0] = <uint32_t>value
    elif size == 8:
        (<uint64_t*>(m.backing + offset))[0] = value
    else:
        memcpy(m.backing + offset, &value, size)
    if unlikely(holds_code(m, offset, size)):
        invalidate_code(c.shared, offset, size)
    if m.page_traces[offset >> 12] == NULL:
        c.shared.quiet_stores += 1
        if c.shared.quiet_stores & 63 == 0:
            m.code_mask[offset >> 12] = 0
            t.tag = 0

cdef bint store_who(Cpu* c, Insn* i, uint64_t ea, uint32_t size, uint64_t value, int who) noexcept nogil:
    cdef uint64_t physical, second
    cdef uint32_t first
    cdef TlbEntry* t = &c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK]
    cdef uint64_t page = (ea + size - 1) & 0xFFFFFFFFFFFFF000ULL
    if t.tag == (page | key_of(c, who)):
        memcpy(<uint8_t*>(t.addend + ea), &value, size)
        return True
    if t.tag == (page | (key_of(c, who) + CODE_KEY)):
        store_beside_code(c, t, ea, size, value)
        return True
    if who != AS_CPL:
        t = victim(c, ea, True, page | key_of(c, who))
        if t != NULL:
            memcpy(<uint8_t*>(t.addend + ea), &value, size)
            return True
    if not check_linear(c, i, ea, size):
        return False
    c.vmx.access_size = size
    first = 4096 - <uint32_t>(ea & 0xFFF)
    c.svm.avic_store = 0         # of a read-modify-write instruction's load
    if not resolve(c, i, ea, WRITE, who, &physical):
        return False
    if unlikely(c.svm.avic_store):
        return avic_store(c, i, physical, size, value)
    if first >= size:
        store_at(c, i, physical, size, value)
    else:
        if not resolve(c, i, beyond(c, ea, first), WRITE, who, &second):
            return False
        store_bytes_at(c, i, physical, first, value)
        store_bytes_at(c, i, second, size - first, value >> (first * 8))
    if c.dr[7] & 0xFF:
        c.pending_debug |= data_breakpoints(c, ea, size, True)
    return True

cdef bint slow_load(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    cdef uint8_t* p
    if not check_alignment(c, i, ea, size):
        return False
    p = second_chance(c, ea, size, 0)
    if p != NULL:
        c.mtmp = load_host(p, size)
        return True
    return load_who(c, i, ea, size, &c.mtmp, AS_CPL, READ)

cdef bint slow_rmw(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    cdef uint8_t* p
    if not check_alignment(c, i, ea, size):
        return False
    p = second_chance(c, ea, size, 1)
    if p != NULL:
        c.mtmp = load_host(p, size)
        return True
    return load_who(c, i, ea, size, &c.mtmp, AS_CPL, WRITE)

cdef bint slow_store(Cpu* c, Insn* i, uint64_t ea, uint64_t value, uint32_t size) noexcept nogil:
    cdef uint8_t* p
    if not check_alignment(c, i, ea, size):
        return False
    p = second_chance(c, ea, size, 1)
    if p != NULL:
        memcpy(p, &value, size)
        return True
    return store_who(c, i, ea, size, value, AS_CPL)

cdef bint probe_who(Cpu* c, Insn* i, uint64_t ea, uint32_t n, bint write, int who) noexcept nogil:
    cdef uint64_t physical, at = ea, end = ea + n
    cdef TlbEntry* t = data_entry(c, ea, write)
    if n == 0 or t.tag == (((ea + n - 1) & 0xFFFFFFFFFFFFF000ULL) | key_of(c, who)):
        return True
    if not check_linear(c, i, ea, n):
        return False
    c.vmx.access_size = n
    while at < end:
        if not resolve(c, i, beyond(c, ea, at - ea), WRITE if write else READ, who, &physical):
            return False
        at = (at | 0xFFF) + 1
        if at == 0:
            return True
    return True

cdef bint slow_probe(Cpu* c, Insn* i, uint64_t ea, uint32_t n, bint write) noexcept nogil:
    return probe_who(c, i, ea, n, write, AS_CPL)

cdef bint slow_bytes(Cpu* c, Insn* i, uint64_t ea, uint8_t* buffer, uint32_t n, bint write) noexcept nogil:
    cdef uint64_t physical[3]
    cdef uint32_t lengths[3]
    cdef int parts = 0, k
    cdef uint32_t done = 0, chunk, j
    cdef uint64_t offset
    if not check_linear(c, i, ea, n):
        return False
    c.vmx.access_size = n
    while done < n and parts < 3:
        chunk = 4096 - <uint32_t>((ea + done) & 0xFFF)
        if chunk > n - done:
            chunk = n - done
        if not resolve(c, i, (ea + done) & c.ea_mask, WRITE if write else READ, AS_CPL, &physical[parts]):
            return False
        lengths[parts] = chunk
        parts += 1
        done += chunk
    done = 0
    for k in range(parts):
        offset = backing(c, physical[k], write)
        if offset == NOTHING:
            for j in range(lengths[k]):
                if write:
                    bus_store(c, i, physical[k] + j, 1, buffer[done + j])
                else:
                    buffer[done + j] = <uint8_t>bus_load(c, i, physical[k] + j, 1)
        elif write:
            memcpy(c.shared.memory.backing + offset, buffer + done, lengths[k])
            if c.shared.memory.code_mask[offset >> 12]:
                invalidate_code(c.shared, offset, lengths[k])
        else:
            memcpy(buffer + done, c.shared.memory.backing + offset, lengths[k])
        done += lengths[k]
    if c.dr[7] & 0xFF:
        c.pending_debug |= data_breakpoints(c, ea, n, write)
    return True

cdef uint8_t* host_pointer(Cpu* c, uint64_t ea, uint32_t n, bint write) noexcept nogil:
    if c.tlb_key == NEVER_KEY or (ea & 0xFFF) + n > 4096:
        return NULL
    return second_chance(c, ea, n, write)

cdef bint system_load(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value) noexcept nogil:
    linear = system_linear(c, linear)
    cdef TlbEntry* t = &c.tlb_read[(linear >> PAGE_SHIFT) & TLB_MASK]
    if likely(t.tag == (((linear + size - 1) & 0xFFFFFFFFFFFFF000ULL) | c.key_super)):
        value[0] = load_host(<uint8_t*>(t.addend + linear), size)
        return True
    return load_who(c, i, linear, size, value, AS_SYSTEM, READ)

cdef bint system_store(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value) noexcept nogil:
    return store_who(c, i, system_linear(c, linear), size, value, AS_SYSTEM)

cdef bint system_probe(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write) noexcept nogil:
    return probe_who(c, i, system_linear(c, linear), n, write, AS_SYSTEM)

cdef bint load_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value, int cpl) noexcept nogil:
    return load_who(c, i, linear, size, value, AS_USER if cpl == 3 else AS_SUPERVISOR, READ)

cdef bint store_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value, int cpl) noexcept nogil:
    return store_who(c, i, linear, size, value, AS_USER if cpl == 3 else AS_SUPERVISOR)

cdef bint probe_as(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil:
    return probe_who(c, i, linear, n, write, AS_USER if cpl == 3 else AS_SUPERVISOR)

cdef bint translate_code(Cpu* c, uint64_t linear, uint64_t* physical) noexcept nogil:
    """For instruction fetch: fills the execute TLB where memory backs the page; faults are raised outside any trace."""
    cdef uint32_t flags
    cdef uint64_t offset
    cdef TlbEntry* t
    if c.efer & EFER_LMA and (c.mode & MODE_CODE) == MODE_CODE64 and not canonical(c, linear):
        fault_code(c, NULL, V_GP, 0)
        return False
    if not walk(c, NULL, linear, EXECUTE, c.cpl == 3, False, physical, &flags):
        return False
    if c.signals.a20_masked:
        physical[0] &= ~<uint64_t>0x100000
    if unlikely(c.virt.guest_mode == GUEST_VMX and (physical[0] & 0xFFFFFFFFFFFFF000ULL) == c.vmx.apic_access):
        return vmx_apic_access(c, NULL, linear, EXECUTE, physical)
    offset = backing(c, physical[0], 0)
    if offset != NOTHING:
        t = exec_entry(c, linear)
        t.tag = (linear & 0xFFFFFFFFFFFFF000ULL) | c.real_key
        t.addend = offset - linear
    return True

cdef uint8_t fetch_byte(Cpu* c, uint64_t physical) noexcept nogil:
    return <uint8_t>load_at(c, NULL, physical, 1)

cdef uint8_t* frame_pointer(Cpu* c, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil:
    cdef TlbEntry* t = data_entry(c, linear, write)
    if t.tag == (((linear + n - 1) & 0xFFFFFFFFFFFFF000ULL) | (c.key_user if cpl == 3 else c.key_super)):
        return <uint8_t*>(t.addend + linear)
    return NULL
