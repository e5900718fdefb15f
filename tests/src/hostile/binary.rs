//! Modules byte by byte: what no assembler would write.

use crate::dice::Dice;

/// Unsigned LEB128.
pub(super) fn leb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A section with its id and size.
pub(super) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len() as u64).as_slice(), content].concat()
}

/// A custom section.
pub(super) fn custom(name: &str, bytes: usize) -> Vec<u8> {
    section(0, &[leb(name.len() as u64).as_slice(), name.as_bytes(), &vec![0; bytes]].concat())
}

/// A core module with so many functions that do nothing.
pub(super) fn functions(count: u64) -> Vec<u8> {
    let count_of = usize::try_from(count).unwrap_or_default();
    let declared = [leb(count), vec![0; count_of]].concat();
    let bodies = [leb(count), [2, 0, 0x0b].repeat(count_of)].concat();
    let types = section(1, &[1, 0x60, 0, 0]);
    [b"\0asm\x01\0\0\0".as_slice(), &types, &section(3, &declared), &section(10, &bodies)].concat()
}

/// A component with one core module in it.
pub(super) fn component_of(module: &[u8]) -> Vec<u8> {
    with_section(b"\0asm\x0d\0\x01\0".to_vec(), 1, module)
}

/// A component and one more section at its end: components may have them in any order, as often as they like.
pub(super) fn with_section(mut component: Vec<u8>, id: u8, content: &[u8]) -> Vec<u8> {
    component.extend(section(id, content));
    component
}

/// A component type that declares a component type that declares …, as a section's content.
pub(super) fn nested_types(levels: usize) -> Vec<u8> {
    let mut bytes = vec![1];
    for _ in 0..levels {
        // A component type with one declaration: a type.
        bytes.extend([0x41, 1, 1]);
    }
    bytes.extend([0x41, 0]);
    bytes
}

/// A module with some bytes changed, removed, doubled or cut off.
pub(super) fn damage(module: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut damaged = module.to_vec();
    for _ in 0..=dice.below(8) {
        let at = dice.below(damaged.len());
        match dice.below(6) {
            0 => damaged.truncate(at.max(9)),
            1 => drop(damaged.drain(at..(at + dice.below(16)).min(damaged.len()))),
            2 => damaged.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f]).for_each(drop),
            3 => {
                let copied = damaged[at..(at + dice.below(64)).min(damaged.len())].to_vec();
                damaged.splice(at..at, copied).for_each(drop);
            }
            _ => {
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= u8::try_from(1 << dice.below(8)).unwrap_or(1);
                }
            }
        }
    }
    damaged
}
