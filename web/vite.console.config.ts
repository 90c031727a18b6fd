// The console's build. It becomes part of the crate that serves it, so that the crate can be published with it, and be
// built without Node where the files are there.
import react from '@vitejs/plugin-react';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';
import type { Plugin } from 'vite';

/** Less fits into the packet that the head of the answer comes in. */
const LEAST_BYTES = 1024;

/**
 * Beside each larger file its gzip form, for the server to send as it is. Every browser takes it, over `http://` as well, where
 * some do not take Brotli; that would save a seventh more, and the program would carry each file a third time.
 */
function gzipped(): Plugin {
  return {
    name: 'gzipped',
    apply: 'build',
    async writeBundle({ dir }, bundle) {
      // The server writes into the page where it is mounted, so that has no form that is made beforehand.
      const names = Object.keys(bundle).filter((name) => !name.endsWith('.html'));
      for (const name of names) {
        const file = join(dir ?? '.', name);
        const plain = await readFile(file);
        if (plain.length <= LEAST_BYTES) continue;
        await writeFile(`${file}.gz`, gzipSync(plain, { level: constants.Z_BEST_COMPRESSION }));
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), gzipped()],
  // The router may be mounted anywhere: the server says where.
  base: './',
  build: {
    outDir: '../crates/larder-admin/console/built',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    rolldownOptions: { input: 'console.html' },
  },
});
