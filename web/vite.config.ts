// How the pages are built, served while one works on them, and tested.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const pageServer = process.env.BLOG_PAGE_URL ?? 'http://127.0.0.1:3000';

export default defineConfig({
  plugins: [react()],
  build: {
    // Small files stay files of their own: the page's content security policy allows no inline code.
    assetsInlineLimit: 0,
  },
  server: {
    port: 5173,
    strictPort: true,
    // Tests hold the console against the description of the admin API.
    fs: { allow: ['.', '../crates/larder-admin'] },
    proxy: { '/config.json': pageServer, '/crowd': pageServer },
  },
  test: {
    environment: 'jsdom',
    setupFiles: ['src/testing/setup.ts'],
    include: ['src/**/*.test.{ts,tsx}'],
    restoreMocks: true,
    testTimeout: 30_000,
  },
});
