import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const client = (file) => fileURLToPath(new URL(`../../clients/js/${file}`, import.meta.url))
const postrider = 'http://127.0.0.1:8080'

export default defineConfig({
  base: '/examples/chat/',
  build: { outDir: '../../web/examples/chat', emptyOutDir: true },
  // An application of yours has @postrider/client among its dependencies.
  resolve: {
    alias: { '@postrider/client/react': client('react.js'), '@postrider/client': client('inbox.js') },
    dedupe: ['react', 'socket.io-client'],
  },
  esbuild: { jsx: 'automatic' },
  // For `npm run dev`, beside `make run`.
  server: { proxy: { '/socket.io': { target: postrider, ws: true }, '/api': postrider, '/dev': postrider } },
})
