// The console's build. It becomes part of the crate that serves it, so that the crate can be published with it, and be
// built without Node where the files are there.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  // The router may be mounted anywhere: the server says where.
  base: './',
  build: {
    outDir: '../crates/larder-admin/console/built',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    rolldownOptions: { input: 'console.html' },
  },
});
